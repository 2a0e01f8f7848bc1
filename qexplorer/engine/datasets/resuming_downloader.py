"""A downloader for pooch that goes on where it stopped, and that can be stopped."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 5.0
"""How long a server may be silent; a stop before its first word has to wait for as long."""
CHUNK_BYTES = 16 << 10


class StoppedError(Exception):
    """The person has cancelled."""


class OtherFileError(Exception):
    """What came, or would come, is not the file that is wanted; says why."""


class ResumingDownloader:
    """Adds to the file `part` and hands it over once it has `nbytes`; `done` is how many it has.

    Where it raises, what came so far stays in `part`. It is called in one thread and stopped from another.
    """

    def __init__(self, part: Path, nbytes: int) -> None:
        self.done = 0
        self._part = part
        self._nbytes = nbytes
        self._stopping = threading.Event()
        self._response: requests.Response | None = None

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Raises `StoppedError`, `OtherFileError`, and what requests and urllib3 raise."""
        import requests

        del pooch
        self.done = self._part.stat().st_size if self._part.is_file() else 0
        if self.done > self._nbytes:
            self.done = 0
        if self.done != self._nbytes:
            with requests.Session() as session, self._answer(session, url) as response:
                self._receive(response)
        self._part.replace(output_file)

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Make it end soon, from another thread; whoever waits for the server's next bytes gets none."""
        self._stopping.set()
        response = self._response
        if response is not None:
            with suppress(OSError, RuntimeError, ValueError):  # it has just been closed
                response.raw.shutdown()

    def _answer(self, session: "requests.Session", url: str) -> "requests.Response":
        """The beginning of an answer that holds the rest of the file, or all where the server knows no parts."""
        headers = {"Accept-Encoding": "identity"}
        if self.done:
            headers["Range"] = f"bytes={self.done}-"
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        try:
            self._response = response
            if self.stopped:
                raise StoppedError
            answers = response.headers.get("Content-Range", "").startswith(f"bytes {self.done}-")
            if self.done and not (response.status_code == 206 and answers):
                self.done = 0
                if response.status_code != 200:  # no such part, or another: ask for all of it
                    response.close()
                    return self._answer(session, url)
            response.raise_for_status()
            length = response.headers.get("Content-Length", "")
            if length.isdecimal() and self.done + int(length) != self._nbytes:
                raise OtherFileError(f"has {self.done + int(length):,} bytes, not {self._nbytes:,}")
        except BaseException:
            response.close()
            raise
        return response

    def _receive(self, response: "requests.Response") -> None:
        """Write what comes to the end of `part`, or in place of it where the answer begins anew."""
        with self._part.open("ab" if self.done else "wb") as file:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                if self.stopped:
                    raise StoppedError
                file.write(chunk)
                self.done += len(chunk)
                if self.done > self._nbytes:
                    break
        if self.done > self._nbytes:
            self._part.unlink()
            raise OtherFileError(f"sends more than the {self._nbytes:,} bytes that the file has")
        if self.done < self._nbytes:
            raise OtherFileError(f"broke off after {self.done:,} of {self._nbytes:,} bytes")
