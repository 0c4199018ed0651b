"""A Django application that answers to the names in ALLOWED_HOSTS only, as production settings have it.

It ends at once on SIGTERM, with requests in flight, and answers every path with its VERSION,
after WORK_MS of work.
"""

import json
import os
import signal
import time
from socketserver import ThreadingMixIn
from types import FrameType
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import re_path


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


class Handler(WSGIRequestHandler):
    """Writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Drops the line."""


def answer(request: HttpRequest) -> HttpResponse:
    # A connection that is closed with a body unread is reset, which can cost the client its answer.
    size = len(request.body)
    time.sleep(int(os.environ.get("WORK_MS", "0")) / 1000)
    return JsonResponse({"version": os.environ.get("VERSION", ""), "bytes": size})


urlpatterns = [re_path("", answer)]


def end(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def main() -> None:
    """Serves until SIGTERM; prints the port, which the system chooses when PORT is 0."""
    signal.signal(signal.SIGTERM, end)
    settings.configure(
        ALLOWED_HOSTS=os.environ.get("ALLOWED_HOSTS", "").split(","),
        DEBUG=False,
        LOGGING_CONFIG=None,
        # The one that checks the host of every request.
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF="__main__",
        SECRET_KEY="of no use here",
    )
    host, port = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))
    with make_server(host, port, get_wsgi_application(), server_class=Server, handler_class=Handler) as server:
        print(json.dumps({"listening": server.server_port}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
