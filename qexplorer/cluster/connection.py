"""The owner's connection to a Dask scheduler: what comes in is plain data, whoever sent it.

`distributed` unpickles whatever a message asks it to, also with `deserialize=False`, and passes on what other clients
publish. So the owner speaks the scheduler's protocol itself: frames with their lengths before them, the first of them
msgpack, which is all that is read here. See `distributed/comm/tcp.py` and `distributed/protocol/core.py`.
"""

import asyncio
import struct
import sys
from collections.abc import Sequence
from typing import Any

from qexplorer.cluster.address import Address
from qexplorer.errors import UserError

MOST_FRAMES = 10_000
MOST_BYTES = 16 << 20
"""Larger messages are refused."""
CLOSE_S = 1.0
HELLO = {"compression": None, "python": sys.version_info[:3], "pickle-protocol": 5}


class Connection:
    """One connection, for one call at a time."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address, self._timeout_s = address, timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, op: str, **message: Any) -> Any:
        """The scheduler's answer: numbers, texts, bytes, and lists and dicts of them, or `None`.

        Raises `ConnectionError` where the scheduler is gone, and `UserError` where its answer is not to be read.
        """
        import msgpack  # part of the extra `cluster`

        try:
            reader, writer = self._streams or await self._open()
            _write(writer, {"op": op, "reply": True, **message})
            await writer.drain()
            return await _read(reader)
        except (OSError, EOFError) as error:
            await self.close()
            raise ConnectionError(str(error) or "it does not answer") from error
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            await self.close()
            what = f"The scheduler at {self._address.url} sent something that is not an answer."
            raise UserError(what, "Check the address, and who else uses that scheduler.", field="on") from error
        except BaseException:  # nobody knows what was read of it
            await self.close()
            raise

    async def close(self) -> None:
        """Close it, without waiting long for the other side."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            try:
                await asyncio.wait_for(streams[1].wait_closed(), CLOSE_S)
            except (OSError, TimeoutError):
                streams[1].transport.abort()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(self._timeout_s):
            host, port, context = self._address.host, self._address.port, self._address.context()
            self._streams = reader, writer = await asyncio.open_connection(host, port, ssl=context)
            _write(writer, HELLO)
            await _read(reader)
            return reader, writer


def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    import msgpack  # part of the extra `cluster`

    frame: bytes = msgpack.dumps(message)  # pyright: ignore[reportAssignmentType]  its stubs think of `autoreset`
    head = struct.pack("=QQ", 1, len(frame))
    writer.write(struct.pack("=Q", len(head) + len(frame)) + head + frame)


async def _read(reader: asyncio.StreamReader) -> Any:
    """The first frame of a message; the others, which hold pickles, are skipped."""
    import msgpack  # part of the extra `cluster`

    together, frames = struct.unpack("=QQ", await reader.readexactly(16))
    if not 1 <= frames <= MOST_FRAMES:
        raise ValueError("a message without frames, or with too many")
    sizes: Sequence[int] = struct.unpack(f"={frames}Q", await reader.readexactly(8 * frames))
    if sum(sizes) > MOST_BYTES or together > 8 + 8 * frames + sum(sizes):
        raise ValueError("a message that is too long")
    content = await reader.readexactly(sum(sizes))
    return msgpack.unpackb(content[: sizes[0]])
