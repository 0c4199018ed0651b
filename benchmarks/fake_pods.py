"""`python -m benchmarks.fake_pods PORT`: answers every HTTP request with 200, for all pods that do not really run."""

import asyncio
import sys

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class _Pod(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if b"\r\n\r\n" in data:
            self._transport.write(_ANSWER)
            self._transport.close()


async def main(port: int) -> None:
    """Serves until it is ended."""
    server = await asyncio.get_running_loop().create_server(_Pod, "0.0.0.0", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
