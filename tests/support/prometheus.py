"""A real Prometheus server that scrapes a page of the test's own.

Must not judge; the test decides what to do when the program is missing.
"""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.support.ports import server_port

PROGRAM = "prometheus"
Object = dict[str, Any]
_CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: tests
  honor_labels: true
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
_PATIENCE = 30.0


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """The samples of a query exactly as given, with their labels."""
    with urlopen(f"{url}/api/v1/query?{urlencode({'query': query})}", timeout=5) as answer:
        samples = json.load(answer)["data"]["result"]
    return samples if isinstance(samples, list) else []


@contextmanager
def running(folder: Path, *, metrics: str) -> Iterator[str]:
    """URL of a server that has scraped `metrics` (text in Prometheus' own format) at least once."""
    with _page(lambda: metrics) as page, serving(folder, _CONFIG.format(port=page)) as url:
        yield url


@contextmanager
def serving(folder: Path, config: str, *, listen: str = "127.0.0.1") -> Iterator[str]:
    """URL of a server that has scraped something by this configuration. `listen`: an address that others can reach."""
    (folder / "prometheus.yml").write_text(config)
    port = server_port()
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data")
    command = [PROGRAM, *options, f"--web.listen-address={listen}:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextmanager
def of_pods(
    folder: Path,
    pods: Callable[[], list[Object]],
    *,
    rules: Sequence[Path] = (),
    alertmanager: str = "",
    every: int = 1,
    listen: str = "127.0.0.1",
) -> Iterator[str]:
    """URL of a server that has scraped one of these pods: those with the usual annotations, as they come and go.

    `every`: seconds between two scrapes; a test that measures something else at the same time uses more.
    """

    def targets() -> str:
        return json.dumps([target for pod in pods() if (target := _target(pod)) is not None])

    with _page(targets, kind="application/json") as page:
        config: dict[str, Any] = {
            "global": {"scrape_interval": f"{every}s", "scrape_timeout": "1s", "evaluation_interval": f"{every}s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {
                    "job_name": "pods",
                    "honor_labels": True,
                    "http_sd_configs": [{"url": f"http://127.0.0.1:{page}/", "refresh_interval": f"{2 * every}s"}],
                }
            ],
        }
        if alertmanager:
            host = alertmanager.removeprefix("http://")
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [host]}]}]}
        with serving(folder, yaml.safe_dump(config), listen=listen) as url:
            yield url


def _target(pod: Object) -> Object | None:
    """The target that a pod's annotations request, as Prometheus' pod discovery usually reads them; else None."""
    meta, address = pod["metadata"], pod.get("status", {}).get("podIP")
    annotations = meta.get("annotations") or {}
    if annotations.get("prometheus.io/scrape") != "true" or not address:
        return None
    path = {"__metrics_path__": annotations["prometheus.io/path"], "instance": meta["name"]}
    return {"targets": [f"{address}:{annotations['prometheus.io/port']}"], "labels": path}


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if ask(url, "up == 1"):
                return
        except OSError:
            pass  # not yet listening, or not yet ready
        time.sleep(0.1)
    raise TimeoutError(f"Prometheus has scraped nothing: {log.read_text()}")


@contextmanager
def _page(text: Callable[[], str], *, kind: str = "text/plain; version=0.0.4") -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text().encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
