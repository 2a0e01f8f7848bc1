"""Where a study runs: in this process, or on the Dask cluster of an address."""

import importlib.util
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from qexplorer.errors import UserError
from qexplorer.weights.text import shown

if TYPE_CHECKING:
    from distributed.security import Security

LOCAL = "local"
ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d{1,5}", re.ASCII)


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
        """What `distributed` asks for; None for `tcp://`. Raises `UserError` where the files cannot be used."""
        if self.tls == NO_TLS:
            return None
        from distributed.security import Security

        security = Security(require_encryption=True, tls_ca_file=self.tls.ca, tls_client_cert=self.tls.cert,
                            tls_client_key=self.tls.key)  # fmt: skip
        try:
            security.get_connection_args("client")
        except OSError as error:  # `ssl.SSLError` is one
            files = f"{self.tls.ca}, {self.tls.cert}, {self.tls.key}"
            what = f"The files for TLS cannot be used: {error} ({shown(files)})."
            remedy = "They have to be PEM files, and the key that of the certificate."
            raise UserError(what, remedy, field="tls_cert") from error
        return security


def place_of(on: str, tls: Tls = NO_TLS) -> Cluster | None:
    """The cluster of that address; None for “local”. Nothing is connected yet.

    Raises `UserError` where it is no address, the files for TLS are not all there, or `distributed` is not installed.
    """
    if on == LOCAL:
        if tls != NO_TLS:
            raise UserError("Files for TLS serve no study that runs here.", "Give --on tls://HOST:PORT.", field="on")
        return None
    if not ADDRESS.fullmatch(on):
        what = f"“{shown(on, 80)}” is no place for a study."
        raise UserError(what, f"Write {LOCAL}, tcp://HOST:8786 or tls://HOST:8786.", field="on")
    if on.startswith("tcp:") and tls != NO_TLS:
        what = f"{on} is not encrypted, so the files for TLS would not be used."
        raise UserError(what, f"Write tls://{on.removeprefix('tcp://')}.", field="on")
    if on.startswith("tls:"):
        for f in fields(tls):
            _check_file(getattr(tls, f.name), f.name, on)
    if importlib.util.find_spec("distributed") is None:
        raise UserError("Dask's `distributed` is not installed.", 'pip install "qexplorer[cluster]"', field="on")
    return Cluster(on, tls)


def _check_file(name: str, part: str, on: str) -> None:
    if not name:
        raise UserError(
            f"{on} needs --tls-{part} FILE.", "Give --tls-ca, --tls-cert and --tls-key.", field=f"tls_{part}"
        )
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        what = f"--tls-{part}: {shown(name)} cannot be read: {error.strerror}."
        raise UserError(what, "Give a PEM file.", field=f"tls_{part}") from error
    if part == "key" and b"ENCRYPTED" in content:  # OpenSSL would ask on the terminal, and wait
        what = f"--tls-key: {shown(name)} is locked with a passphrase."
        raise UserError(what, "Give a key without one.", field="tls_key")
