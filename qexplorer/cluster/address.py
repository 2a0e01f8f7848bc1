"""Where a study runs: in this process, or on the Dask cluster of an address."""

import importlib.util
import re
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from qexplorer.errors import UserError
from qexplorer.text import printable

LOCAL = "local"
URL = re.compile(r"(tcp|tls)://[!-.0-~]{1,200}:\d{1,5}")
TCP, TLS = "tcp://", "tls://"
"""What addresses begin with; the second kind needs the files of a `Tls`."""
MOST_PORT = 65535
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

    @property
    def host(self) -> str:
        """The host's name or number."""
        return self.url.partition("://")[2].rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port's number."""
        return int(self.url.rpartition(":")[2])

    @property
    def is_here(self) -> bool:
        """Whether nothing that is sent there leaves this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def context(self) -> ssl.SSLContext | None:
        """What proves each side to the other, as Dask does: by its own authority, not by names; None for `tcp://`."""
        if self.tls == NO_TLS:
            return None
        ca, cert, key = (Path(file).expanduser() for file in (self.tls.ca, self.tls.cert, self.tls.key))
        context = ssl.create_default_context(cafile=ca)
        context.check_hostname = False
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.load_cert_chain(cert, key)
        return context


def parse_address(on: str, tls: Tls = NO_TLS, *, insecure: bool = False) -> Address | None:
    """The address of a cluster; None for “local”. Nothing is connected yet.

    Raises `UserError` where it is not an address, the files for TLS are incomplete or do not match, the connection
    would leave this machine without TLS although nobody said that it may (`insecure`), or the extra `cluster` is not
    installed.
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
        raise UserError(what, f"Write tls://{on.removeprefix(TCP)}.", field="on")
    address = Address(on, tls)
    if address.port > MOST_PORT:
        raise UserError(f"{on} has a port beyond {MOST_PORT}.", "The usual one is 8786.", field="on")
    if tls == NO_TLS and not address.is_here and not insecure:
        what = f"{on} is not encrypted, and anyone who can reach it can run programs on its workers and read the study."
        remedy = (
            f"Give the scheduler and its workers TLS and write tls://{on.removeprefix(TCP)}: `qexplorer study --help` "
            "shows how. In a network that you trust, `qexplorer study --insecure` does without."
        )
        raise UserError(what, remedy, field="on")
    if importlib.util.find_spec("msgpack") is None:
        raise UserError("What talks to Dask is not installed.", 'pip install "qexplorer[cluster]"', field="on")
    return address


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
