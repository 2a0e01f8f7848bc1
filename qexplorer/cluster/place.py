"""Where a study runs: in this process, or on the Dask cluster of an address."""

import importlib.util
import re
import ssl
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from qexplorer.errors import UserError
from qexplorer.text import printable

if TYPE_CHECKING:
    from distributed.security import Security

LOCAL = "local"
ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d{1,5}", re.ASCII)
TLS = "tls://"
"""What the addresses begin with that need the files of a `Tls`."""
TITLES = {"ca": "CA file", "cert": "certificate", "key": "key"}
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Tls:
    """The files, in PEM, by which a cluster and this program know each other: the authority's, and one's own."""

    ca: str = ""
    cert: str = ""
    key: str = ""


NO_TLS = Tls()


@dataclass(frozen=True)
class Cluster:
    """A Dask scheduler's address, and the files for `tls://`."""

    address: str
    tls: Tls = NO_TLS

    def security(self) -> "Security | None":
        """What `distributed` asks for; None for `tcp://`."""
        if self.tls == NO_TLS:
            return None
        from distributed.security import Security

        own = Tls(*(str(Path(getattr(self.tls, f.name)).expanduser()) for f in fields(self.tls)))
        return Security(require_encryption=True, tls_ca_file=own.ca, tls_client_cert=own.cert, tls_client_key=own.key)


def place_of(on: str, tls: Tls = NO_TLS) -> Cluster | None:
    """The cluster of that address; None for “local”. Nothing is connected yet.

    Raises `UserError` where it is no address, the files for TLS are not all there or do not fit each other, or
    `distributed` is not installed.
    """
    if on == LOCAL:
        if tls != NO_TLS:
            raise UserError("Files for TLS serve no study that runs here.", "Give --on tls://HOST:PORT.", field="on")
        return None
    if not ADDRESS.fullmatch(on):
        what = f"“{printable(on, 80)}” is no place for a study."
        raise UserError(what, f"Write {LOCAL}, tcp://HOST:8786 or tls://HOST:8786.", field="on")
    if on.startswith("tcp:") and tls != NO_TLS:
        what = f"{on} is not encrypted, so the files for TLS would not be used."
        raise UserError(what, f"Write tls://{on.removeprefix('tcp://')}.", field="on")
    if on.startswith(TLS):
        check_tls(tls)
    if importlib.util.find_spec("distributed") is None:
        raise UserError("Dask's `distributed` is not installed.", 'pip install "qexplorer[cluster]"', field="on")
    return Cluster(on, tls)


def check_tls(tls: Tls) -> None:
    """Raise a `UserError` with the field at fault where one of the files is missing or cannot be used."""
    paths = {f.name: _existing(getattr(tls, f.name), f.name) for f in fields(tls)}
    for part in ("ca", "cert"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(paths[part])
        except OSError as error:  # `ssl.SSLError` is one
            raise _wrong(part, paths[part], "holds no certificate in PEM") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(paths["cert"], paths["key"], password="")
    except OSError as error:
        raise _wrong("key", paths["key"], "is not the key of the certificate") from error


def _existing(name: str, part: str) -> Path:
    """The path of a file that can be read, and, if it is a key, is not locked."""
    if not name:
        raise UserError(f"tls:// needs a {TITLES[part]}.", _remedy(part), field=f"tls_{part}")
    path = Path(name).expanduser()
    if path.exists() and not path.is_file():
        raise _wrong(part, path, "is no file")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES)
    except OSError as error:
        raise _wrong(part, path, f"cannot be read: {error.strerror}") from error
    if part == "key" and b"ENCRYPTED" in content:  # OpenSSL would ask on the terminal, and wait
        raise _wrong(part, path, "is locked with a passphrase")
    return path


def _wrong(part: str, path: Path, why: str) -> UserError:
    return UserError(f"The {TITLES[part]} {printable(str(path))} {why}.", _remedy(part), field=f"tls_{part}")


def _remedy(part: str) -> str:
    return f"Give a PEM file{' without a passphrase' if part == 'key' else ''}."
