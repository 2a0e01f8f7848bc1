"""What a scheduler may send: every message is data, or it is refused."""

import asyncio
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from qexplorer.cluster.address import Address
from qexplorer.cluster.connection import MOST_BYTES, Connection
from qexplorer.errors import UserError


def framed(*frames: bytes) -> bytes:
    """Frames as Dask sends them."""
    head = struct.pack(f"=Q{len(frames)}Q", len(frames), *map(len, frames))
    return struct.pack("=Q", len(head) + sum(map(len, frames))) + head + b"".join(frames)


def packed(message: Any) -> bytes:
    return bytes(msgpack.dumps(message) or b"")


async def answered(content: bytes) -> Any:
    """What a connection makes of a scheduler that says this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(framed(packed({"compression": None})) + content)
        await reader.readexactly(16)
        writer.write_eof()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        connection = Connection(Address(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"), 5.0)
        try:
            async with asyncio.timeout(5):
                return await connection.call("ncores")
        finally:
            await connection.close()


def test_an_answer_is_plain_data_whatever_follows_it() -> None:
    said = {"tcp://w:1": {"answer": b"\x80", "n": 1, "list": [1.5, None, "ä"]}}
    assert asyncio.run(answered(framed(packed(said)))) == said
    assert asyncio.run(answered(framed(packed(said), b"pickles", b""))) == said


def test_what_asks_to_be_unpickled_stays_what_it_is(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "hit"),)

    bomb = pickle.dumps(Bomb())
    serialized = {"serializer": "pickle", "writeable": []}
    for word, head in (("__Pickled__", {"pickled-obj": bomb}), ("__Serialized__", serialized)):
        said = {"tcp://w:1": {word: 1}}
        frames = framed(packed(said), packed(head | {"num-sub-frames": 1}), bomb)
        assert asyncio.run(answered(frames)) == said
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("=QQ", 8, 0),
        struct.pack("=QQ", 8, 1 << 60),
        struct.pack("=QQQ", 16, 1, MOST_BYTES + 1),
        struct.pack("=QQQ", 1 << 60, 1, 1) + b"\x01",
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 100,
        framed(b""),
        framed(b"\x91" * 100_000),
        framed(b"\xdd\xff\xff\xff\xff"),
        framed(b"\xc1"),
        framed(packed({"a": 1})[:-1]),
        framed(packed({"a": 1}) + b"more"),
        framed(b"\xa1\xff"),
        framed(b"\x81\x91\x01\x01"),
    ],
)
def test_what_is_not_a_message_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="sent something that is not an answer"):
        asyncio.run(answered(content))


def test_flipped_bytes_never_raise_anything_else() -> None:
    good, random = framed(packed({"tcp://w:1": {"answer": b"x" * 50, "n": [1, 2.5, "a"]}})), np.random.default_rng(0)
    ends = 0
    for _ in range(200):
        bad = bytearray(good)
        for at in random.integers(16, len(bad), 3):
            bad[at] = random.integers(256)
        try:
            asyncio.run(answered(bytes(bad) + b"\0" * 300))
        except (UserError, ConnectionError):
            ends += 1
    assert ends > 50
