"""A small stand-in for clamd that speaks its INSTREAM protocol, and misbehaves when told to."""

import asyncio
import contextlib
import struct

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class StandIn:
    """`async with StandIn() as clamd:`; clamd.mood is ok, silent, rude (hangs up), confused (an answer of no sense)."""

    def __init__(self) -> None:
        self.mood = "ok"
        self.longest = 100 * 1024 * 1024
        self.scanned = 0
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> "StandIn":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
        if self.mood == "rude":
            return
        body = b""
        while length := struct.unpack("!L", await reader.readexactly(4))[0]:
            body += await reader.readexactly(length)
            if len(body) > self.longest:
                writer.write(b"INSTREAM size limit exceeded. ERROR\0")
                await writer.drain()
                await reader.read()  # hanging up on unread bytes may cost the answer, which is what "rude" is for
                return
        self.scanned += 1
        if self.mood == "silent":
            await asyncio.sleep(60)
        answer = b"stream: Win.Test.EICAR_HDB-1 FOUND\0" if EICAR in body else b"stream: OK\0"
        writer.write(b"UNKNOWN COMMAND\0" if self.mood == "confused" else answer)
        await writer.drain()
