"""A damaged environment is mended by the next start; tried on a real one, made by the real pip without a network."""

import os
import shutil
import socket
import threading
from pathlib import Path

import pytest
from _environment import Environment
from environments import posix_only
from small_checkouts import launch, make_checkout

pytestmark = posix_only


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_checkout(tmp_path_factory.mktemp("small") / "a checkout")
    first = launch(root, "--offline", "first")
    assert (first.returncode, first.stdout) == (0, "whole first\n"), first
    return root


@pytest.fixture
def root(made: Path) -> Path:
    """A checkout whose environment is ready, whatever the test before has done to it."""
    assert launch(made, "--offline", "ready").stdout == "whole ready\n"
    return made


def site(root: Path) -> Path:
    return Environment(root).site


def lose_package(root: Path) -> None:
    shutil.rmtree(site(root) / "tiny")


def lose_every_trace(root: Path) -> None:
    lose_package(root)
    shutil.rmtree(site(root) / "tiny-1.0.dist-info")


def lose_a_deep_file(root: Path) -> None:
    (site(root) / "tiny" / "deep" / "part.py").unlink()


def leave_empty_folders(root: Path) -> None:
    for path in [*site(root).rglob("*")]:
        if path.is_file() and "tiny" in str(path):
            path.unlink()


def test_what_is_missing_is_installed_again_by_the_next_start(root: Path) -> None:
    for damage in (lose_every_trace, lose_a_deep_file, leave_empty_folders):
        damage(root)
        answer = launch(root, "--offline", damage.__name__)
        assert (answer.returncode, answer.stdout) == (0, f"whole {damage.__name__}\n"), answer
        assert "Files of tiny in" in answer.stderr
    assert launch(root, "more").stderr == ""


def test_an_environment_that_nothing_can_be_installed_into_is_made_anew(root: Path) -> None:
    for link in (root / ".venv" / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3")
    answer = launch(root, "--offline", "anew")
    assert (answer.returncode, answer.stdout) == (0, "whole anew\n"), answer


def test_a_checkout_that_was_moved_keeps_what_is_installed(root: Path) -> None:
    there = root.with_name("moved")
    root.rename(there)
    (there / "wheels").rename(there / "none")  # so that nothing can be installed again
    try:
        answer = launch(there, "--offline", "here")
        assert (answer.returncode, answer.stdout) == (0, "whole here\n"), answer
    finally:
        (there / "none").rename(there / "wheels")
        there.rename(root)


def test_a_start_leaves_added_packages_alone_and_reads_no_record_once_it_knows_them(root: Path) -> None:
    own = site(root) / "of the person's own.py"
    own.touch()
    answer = launch(root, "--offline", "settled")
    assert (answer.stdout, answer.stderr) == ("whole settled\n", "")
    assert own.exists()
    record = site(root) / "tiny-1.0.dist-info" / "RECORD"
    text = record.read_text()
    record.write_text("no record")  # in place: the times of folders stay
    assert Environment(root).is_ready()
    record.write_text(text)


def test_a_file_with_other_content_is_found_by_check_and_mended_by_repair(root: Path) -> None:
    part = site(root) / "tiny" / "deep" / "part.py"
    part.write_text(part.read_text().replace("whole", "whale"))
    found = launch(root, "--check")
    assert (found.returncode, found.stdout) == (3, "")
    [line] = found.stderr.splitlines()
    assert "Files of tiny are missing or damaged. Mend it: python3 scripts/launch.py --repair" in line
    assert "whale" in part.read_text()  # to check changes nothing
    assert launch(root, "--offline", "--repair").returncode == 0
    assert "whole" in part.read_text()
    clean = launch(root, "--check")
    assert (clean.returncode, clean.stderr) == (0, ""), clean
    assert "Qt can open a window here." in clean.stdout


def test_offline_says_what_is_missing_and_how_to_get_it(root: Path) -> None:
    lose_package(root)
    (root / "wheels").rename(root / "none")
    try:
        answer = launch(root, "--offline")
        assert answer.returncode == 3
        line = answer.stderr.splitlines()[-1]
        assert "tiny" in line
        assert "python3 -m pip download -d wheels -c constraints.txt . hatchling editables" in line
    finally:
        (root / "none").rename(root / "wheels")
    assert launch(root, "--offline", "with it").stdout == "whole with it\n"


def test_pip_goes_through_the_persons_proxy_and_offline_through_none(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        asked: list[bytes] = []

        def answer() -> None:
            while True:
                try:
                    connection, _ = proxy.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(200))
                    connection.sendall(b"HTTP/1.1 503 Busy\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.getsockname()[1]}",
                   "PIP_INDEX_URL": "https://mirror.invalid/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_NO_CACHE_DIR": "1",
                   "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}  # fmt: skip
        try:
            lose_package(root)
            through = launch(root, "through", **environ)
            assert through.returncode == 3
            assert "No network" in through.stderr
            assert asked[0].startswith(b"CONNECT mirror.invalid:443 ")
            asked.clear()
            offline = launch(root, "--offline", "offline", **environ)
            assert (offline.stdout, asked) == ("whole offline\n", []), offline
        finally:
            proxy.shutdown(socket.SHUT_RDWR)
            thread.join()
