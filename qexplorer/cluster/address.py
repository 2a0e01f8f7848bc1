"""Where a study runs: in this process, or on the Dask cluster of an address."""

import importlib.util
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qexplorer.errors import UserError
from qexplorer.text import printable

if TYPE_CHECKING:
    from distributed.security import Security

LOCAL = "local"
URL = re.compile(r"(tcp|tls)://[^\s/]+:\d{1,5}", re.ASCII)
TLS = "tls://"
"""What the addresses begin with that need the files of a `Tls`."""
TITLES = {"ca": "CA file", "cert": "certificate", "key": "key"}
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Tls:
    """PEM files for mutual TLS: the authority's certificate, and this program's own certificate and key."""

    ca: str = ""
    cert: str = ""
    key: str = ""


NO_TLS = Tls()


@dataclass(frozen=True)
class Address:
    """A Dask scheduler's address, and the files for `tls://`."""

    url: str
    tls: Tls = NO_TLS

    def security(self) -> "Security | None":
        """The `security` for Dask's client; None for `tcp://`."""
        if self.tls == NO_TLS:
            return None
        from distributed.security import Security

        ca, cert, key = (str(Path(file).expanduser()) for file in (self.tls.ca, self.tls.cert, self.tls.key))
        return Security(require_encryption=True, tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key)


def parse_address(on: str, tls: Tls = NO_TLS) -> Address | None:
    """The address of a cluster; None for “local”. Nothing is connected yet.

    Raises `UserError` where it is not an address, the files for TLS are incomplete or do not match, or `distributed`
    is not installed.
    """
    if on == LOCAL:
        if tls != NO_TLS:
            raise UserError("A study that runs here needs no TLS files.", "Give --on tls://HOST:PORT.", field="on")
        return None
    if not URL.fullmatch(on):
        what = f"“{printable(on, 80)}” is not an address that a study can run on."
        raise UserError(what, f"Write {LOCAL}, tcp://HOST:8786 or tls://HOST:8786.", field="on")
    if on.startswith(TLS):
        check_tls(tls)
    elif tls != NO_TLS:
        what = f"{on} is not encrypted, so the TLS files would not be used."
        raise UserError(what, f"Write tls://{on.removeprefix('tcp://')}.", field="on")
    if importlib.util.find_spec("distributed") is None:
        raise UserError("Dask's `distributed` is not installed.", 'pip install "qexplorer[cluster]"', field="on")
    return Address(on, tls)


def check_tls(tls: Tls) -> None:
    """Raise a `UserError` with the field at fault where one of the files is missing or cannot be used."""
    ca, cert, key = _readable(tls.ca, "ca"), _readable(tls.cert, "cert"), _readable(tls.key, "key")
    for part, path in (("ca", ca), ("cert", cert)):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError as error:  # `ssl.SSLError` is one
            raise _wrong(part, path, "holds no certificate in PEM format") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password="")
    except OSError as error:
        raise _wrong("key", key, "does not belong to the certificate") from error


def _readable(name: str, part: str) -> Path:
    """The path of a file that can be read and, if it is a key, is not locked."""
    if not name:
        raise UserError(f"tls:// needs a {TITLES[part]}.", _remedy(part), field=f"tls_{part}")
    path = Path(name).expanduser()
    if path.exists() and not path.is_file():
        raise _wrong(part, path, "is not a file")
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
