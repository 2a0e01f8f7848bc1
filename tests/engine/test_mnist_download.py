import gzip
import hashlib
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from qexplorer.engine.datasets import Data, find_dataset, mnist_download, open_dataset
from qexplorer.engine.datasets.download import Remote
from qexplorer.engine.datasets.mnist import FILES
from qexplorer.errors import UserError
from qexplorer.progress import Progress, finish

NAMES = [f"{name}.gz" for name in FILES]
IMAGES = NAMES[0]


def packed(name: str) -> bytes:
    """One of four files: 300 and 100 images of noise, and their labels."""
    n = 300 if "train" in name else 100
    shape, high = ((n, 28, 28), 256) if "images" in name else ((n,), 10)
    array = np.random.default_rng(len(name)).integers(0, high, shape, dtype=np.uint8)
    return gzip.compress(struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *shape) + array.tobytes(), 1)


FILES_SERVED = {name: packed(name) for name in NAMES}
HALF = len(FILES_SERVED[IMAGES]) // 2


@dataclass
class Served:
    """What the server has, how it behaves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES_SERVED))
    url: str = ""
    knows_ranges: bool = True
    says_length: bool = True
    wrong_range: bool = False
    cut_at: int | None = None
    stall_at: int | None = None
    is_silent: bool = False
    go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        served, name = self.served, self.path.rpartition("/")[2]
        served.asked.append((name, self.headers.get("Range", "")))
        if served.is_silent:
            served.go_on.wait(20)
        if name not in served.files:
            self.send_error(404)
            return
        content = served.files[name]
        start = self._start() if served.knows_ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + served.wrong_range}-{len(content) - 1}/{len(content)}")
        if served.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = min(served.cut_at or len(content), served.stall_at or len(content))
        self.wfile.write(content[start:stop])
        if served.stall_at is not None:
            self.wfile.flush()
            served.go_on.wait(20)

    def _start(self) -> int:
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"served": served}))
    server.daemon_threads = False  # so that closing it waits for those that answer
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/mnist"
    try:
        yield served
    finally:
        served.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder; the files wanted are those of `FILES_SERVED`, and no proxy is asked for them."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")
    monkeypatch.setenv("NO_PROXY", "*")
    remotes = tuple(Remote(name, hashlib.sha256(file).hexdigest(), len(file)) for name, file in FILES_SERVED.items())
    monkeypatch.setattr(mnist_download, "REMOTES", remotes)
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serving(Served()) as served:
        monkeypatch.setenv("QEXPLORER_MNIST_URL", served.url)
        yield served


def check(data: Data) -> None:
    assert data.name == "mnist"
    assert data.x_train.shape == (300, 1, 32, 32)
    assert data.x_test.shape == (100, 1, 32, 32)
    pixels = np.frombuffer(gzip.decompress(FILES_SERVED[IMAGES])[16:], np.uint8).reshape(300, 28, 28)
    np.testing.assert_array_equal(data.x_train[:, 0, 2:-2, 2:-2], pixels / np.float32(255))


def refusal() -> UserError:
    with pytest.raises(UserError) as caught:
        finish(open_dataset("mnist"))
    assert caught.value.field == "data"
    assert "\n" not in str(caught.value)
    assert "or name a folder with the four files" in caught.value.remedy
    return caught.value


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_downloaded_once(server: Served, cache: Path) -> None:
    reports: list[Progress] = []
    check(finish(open_dataset("mnist"), reports.append))
    assert server.asked == [(name, "") for name in NAMES]
    assert names(cache) == sorted(NAMES)
    phases = list(dict.fromkeys(report.phase for report in reports))
    assert phases[:2] == ["Checking train-images", "Downloading train-images…"]
    assert {report.total for report in reports if "train-images…" in report.phase} == {len(FILES_SERVED[IMAGES])}
    fractions = [report.fraction or 0 for report in reports]
    assert fractions == sorted(fractions)
    check(finish(open_dataset("mnist")))
    assert len(server.asked) == 4


def test_a_file_that_was_damaged_since_is_fetched_again(server: Served, cache: Path) -> None:
    finish(open_dataset("mnist"))
    (cache / IMAGES).write_bytes(b"damaged")
    server.asked.clear()
    check(finish(open_dataset("mnist")))
    assert server.asked == [(IMAGES, "")]


@pytest.mark.parametrize("says_length", [True, False])
def test_what_was_cut_off_goes_on_where_it_stopped(server: Served, cache: Path, says_length: bool) -> None:
    server.cut_at, server.says_length = HALF, says_length
    error = refusal()
    assert error.what.startswith(f"{IMAGES} could not be downloaded: {server.url}/{IMAGES} br")
    assert "Try again, it goes on where it stopped" in error.remedy
    there = (cache / f"{IMAGES}.part").stat().st_size
    assert 0 < there <= HALF
    server.cut_at = None
    check(finish(open_dataset("mnist")))
    assert server.asked[1] == (IMAGES, f"bytes={there}-")
    assert names(cache) == sorted(NAMES)


def test_a_server_that_knows_no_parts_begins_anew(server: Served, cache: Path) -> None:
    server.cut_at, server.knows_ranges = HALF, False
    refusal()
    assert (cache / f"{IMAGES}.part").stat().st_size > 0
    server.cut_at = None
    check(finish(open_dataset("mnist")))


def test_a_server_that_sends_another_part_is_asked_for_all(server: Served, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / f"{IMAGES}.part").write_bytes(FILES_SERVED[IMAGES][:HALF])
    server.wrong_range = True
    check(finish(open_dataset("mnist")))
    assert server.asked[:2] == [(IMAGES, f"bytes={HALF}-"), (IMAGES, "")]


def test_a_part_that_is_whole_is_not_asked_for(server: Served, cache: Path) -> None:
    cache.mkdir(parents=True)
    for name, file in FILES_SERVED.items():
        (cache / f"{name}.part").write_bytes(file)
    check(finish(open_dataset("mnist")))
    assert server.asked == []


def test_a_part_that_is_too_long_is_thrown_away(server: Served, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / f"{IMAGES}.part").write_bytes(bytes(2 * HALF + 100))
    check(finish(open_dataset("mnist")))
    assert server.asked[0] == (IMAGES, "")


def test_a_wrong_checksum_is_said_and_nothing_is_kept(server: Served, cache: Path) -> None:
    server.files[IMAGES] = bytes(len(FILES_SERVED[IMAGES]))
    error = refusal()
    assert f"{IMAGES} could not be downloaded" in error.what
    assert "sent a file with a wrong checksum, which was removed" in error.what
    assert names(cache) == []
    server.files[IMAGES] = FILES_SERVED[IMAGES]
    check(finish(open_dataset("mnist")))


@pytest.mark.parametrize(
    ("says_length", "message"), [(True, "bytes, not"), (False, "sends more than the")], ids=["told", "untold"]
)
def test_a_file_of_another_size_is_refused(server: Served, cache: Path, says_length: bool, message: str) -> None:
    server.says_length = says_length
    server.files[IMAGES] += bytes(1 << 20)
    assert message in refusal().what
    assert names(cache) == []


def test_another_address_goes_on_with_what_the_first_one_sent(
    server: Served, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cut_at = HALF
    with serving(Served()) as second:
        monkeypatch.setenv("QEXPLORER_MNIST_URL", f"{server.url}/ {second.url}/")
        check(finish(open_dataset("mnist")))
    assert second.asked[0][0] == IMAGES
    assert second.asked[0][1].startswith("bytes=")
    assert second.asked[0][1] != "bytes=0-"


def test_a_file_that_is_not_there_is_named(server: Served, cache: Path) -> None:
    del server.files[NAMES[2]]
    error = refusal()
    assert error.what == f"{NAMES[2]} could not be downloaded: {server.url}/{NAMES[2]} answers 404 Not Found."
    assert names(cache) == sorted(NAMES[:2])


def test_without_a_network_every_address_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Served()) as gone:
        pass
    monkeypatch.delenv("QEXPLORER_MNIST_URL", raising=False)
    monkeypatch.setattr(mnist_download, "MIRRORS", (f"{gone.url}/", f"{gone.url}/other/"))
    what = refusal().what
    assert f"{gone.url}/{IMAGES} cannot be reached; {gone.url}/other/{IMAGES} cannot be reached." in what
    monkeypatch.setenv("QEXPLORER_MNIST_URL", "nonsense")
    assert "nonsense/train-images-idx3-ubyte.gz cannot be asked" in refusal().what


def test_closing_it_stops_the_download_and_keeps_what_came(server: Served, cache: Path) -> None:
    server.stall_at = HALF
    steps = open_dataset("mnist")
    threads = threading.active_count()
    while next(steps).done < HALF // 2:
        pass
    began = time.monotonic()
    steps.close()
    assert time.monotonic() - began < 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("download")]
    assert threading.active_count() <= threads + 1  # the server still waits to go on
    there = (cache / f"{IMAGES}.part").stat().st_size
    assert 0 < there <= HALF
    assert names(cache) == [f"{IMAGES}.part"]
    server.stall_at = None
    server.go_on.set()
    check(finish(open_dataset("mnist")))
    assert server.asked[1] == (IMAGES, f"bytes={there}-")


def test_it_tells_how_far_it_is_ten_times_a_second(server: Served) -> None:
    server.stall_at = HALF
    steps = open_dataset("mnist")
    while next(steps).done < HALF // 2:
        pass
    began = time.monotonic()
    for _ in range(3):
        next(steps)
    assert 0.2 < time.monotonic() - began < 2
    steps.close()


def test_a_silent_server_is_given_up(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.engine.datasets.resuming_downloader.TIMEOUT_S", 0.2)
    server.stall_at = HALF
    assert "broke the connection" in refusal().what
    server.is_silent = True
    assert "does not answer within" in refusal().what


def test_nothing_is_written_where_the_cache_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "file" / "cache")
    with pytest.raises(UserError, match="could not be created"):
        finish(open_dataset("mnist"))


def test_only_the_word_is_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / NAMES[0]).write_bytes(b"")
    assert find_dataset("mnist").name == "mnist_download"
    for text in ("./mnist", "mnist/", str(tmp_path / "mnist"), Path("mnist"), tmp_path / "mnist"):
        assert find_dataset(text).name == "mnist"


def test_the_files_of_mnist_are_these_four() -> None:
    assert [remote.name for remote in mnist_download.REMOTES] == NAMES
    assert all(len(remote.sha256) == 64 for remote in mnist_download.REMOTES)
    assert len({replace(remote, name="") for remote in mnist_download.REMOTES}) == 4
