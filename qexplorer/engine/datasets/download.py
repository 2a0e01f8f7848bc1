"""A file from the network, kept once its checksum fits; one that was cut off goes on where it stopped."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from qexplorer.engine.datasets.resuming_downloader import TIMEOUT_S, OtherFileError, ResumingDownloader, StoppedError
from qexplorer.errors import UserError
from qexplorer.folders import disk_errors
from qexplorer.progress import Progress, Steps

PERIOD_S = 0.1
"""Between two looks at how far it is."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as it has to be: its name, SHA-256 and size in bytes."""

    name: str
    sha256: str
    nbytes: int


def fetch(remote: Remote, folder: Path, bases: Sequence[str], title: str, remedy: str) -> Steps[Path]:
    """The file in `folder`, got from the first of the addresses `bases` + its name that has it, unless it is there.

    It is fetched in a thread that has ended when this has, closed half-way or not; what came so far stays in a file
    that ends in `.part`. Raises `UserError` with what each address answered, and the `remedy`.
    """
    import pooch

    path = folder / remote.name
    yield Progress(f"Checking {title}", 0, remote.nbytes)
    with disk_errors(path):
        if path.is_file() and pooch.file_hash(str(path)) == remote.sha256:
            return path
    download = ResumingDownloader(folder / f"{remote.name}.part", remote.nbytes)
    with ThreadPoolExecutor(1, "download") as pool:
        work = pool.submit(_retrieve, remote, folder, bases, download, remedy)
        try:
            while not work.done():
                yield Progress(f"Downloading {title}…", download.done, remote.nbytes)
                wait([work], PERIOD_S)
        finally:
            download.stop()
    work.result()
    return path


def _retrieve(remote: Remote, folder: Path, bases: Sequence[str], download: ResumingDownloader, remedy: str) -> None:
    """Fetch the file with pooch, which removes what has another checksum, from one address after the other."""
    import pooch
    import requests
    from urllib3.exceptions import HTTPError

    pooch.get_logger().setLevel(logging.ERROR)  # else it writes to the terminal
    failures: list[str] = []
    with disk_errors(folder / remote.name):
        for base in bases:
            if download.stopped:
                raise StoppedError
            url = f"{base.rstrip('/')}/{remote.name}"
            try:
                pooch.retrieve(
                    url,
                    f"sha256:{remote.sha256}",
                    remote.name,
                    folder,
                    downloader=download,  # pyright: ignore[reportArgumentType] - pooch's own type misnames the arguments
                )
                return
            except (requests.RequestException, HTTPError) as error:
                why = _reason(error)
            except OtherFileError as error:
                why = str(error)
            except ValueError:  # of pooch
                why = "sent a file with a wrong checksum, which was removed"
            failures.append(f"{url} {why}")
    raise UserError(f"{remote.name} could not be downloaded: {'; '.join(failures)}.", remedy, field="data")


def _reason(error: Exception) -> str:
    """What an address did instead of sending the file; the libraries' own words name pools and adapters."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answers {error.response.status_code} {error.response.reason}".rstrip()
    if isinstance(error, requests.Timeout):
        return f"does not answer within {TIMEOUT_S:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "cannot show that it is who it says"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    if isinstance(error, requests.RequestException):
        return f"cannot be asked: {error}"
    return "broke the connection"
