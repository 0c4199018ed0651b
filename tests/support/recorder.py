"""An HTTP server that records the messages to receivers of alerts; `statuses` makes a path misbehave."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.ports import server_port


@dataclass(slots=True)
class Posted:
    """A POST that was answered with a success."""

    at: float
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class Recorder:
    port: int
    posts: list[Posted] = field(default_factory=list)
    refused: int = 0
    # By path; 200 for all others.
    statuses: dict[str, int] = field(default_factory=dict)

    def to(self, path: str) -> list[Posted]:
        return [post for post in self.posts if post.path == path]

    def kinds(self, path: str) -> list[str]:
        """Kind of each message to a webhook, in one word; a repeated delivery counts once."""
        by_delivery = {
            post.headers["x-resilience-delivery"]: post.headers["x-resilience-kind"] for post in self.to(path)
        }
        return list(by_delivery.values())


@contextmanager
def recording() -> Iterator[Recorder]:
    """A recorder that is reachable from everywhere."""
    recorder = Recorder(server_port())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            self._answer()
            if recorder.statuses.get(self.path, 200) >= 300:
                recorder.refused += 1
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            recorder.posts.append(Posted(time.monotonic(), self.path, headers, json.loads(body)))

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            self.send_response(recorder.statuses.get(self.path, 200))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("0.0.0.0", recorder.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
