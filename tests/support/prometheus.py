"""A real Prometheus server that scrapes a page of the test's own.

Must not judge; whether the program is there at all is the test's business.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.support.shop import free_port

PROGRAM = "prometheus"
_CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: tests
  honor_labels: true
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
_PATIENCE = 30.0


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """The samples of a query exactly as it is given, with their labels."""
    with urlopen(f"{url}/api/v1/query?{urlencode({'query': query})}", timeout=5) as answer:
        found = json.load(answer)["data"]["result"]
    return found if isinstance(found, list) else []


@contextmanager
def running(folder: Path, *, metrics: str) -> Iterator[str]:
    """Its URL, when it has scraped `metrics` (text in Prometheus' own format) at least once."""
    with _page(metrics) as page, serving(folder, _CONFIG.format(port=page)) as url:
        yield url


@contextmanager
def serving(folder: Path, config: str) -> Iterator[str]:
    """Its URL, when it has scraped something by this configuration."""
    (folder / "prometheus.yml").write_text(config)
    port = free_port()
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data")
    command = [PROGRAM, *options, f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def of_annotated_pods(kubeconfig: Path, *, rules: Sequence[Path] = (), alertmanager: str = "") -> str:
    """A configuration that finds pods by the usual annotations, as for a Prometheus that has no operator of its own."""
    where = {"source_labels": ["__address__", "__meta_kubernetes_pod_annotation_prometheus_io_port"]}
    relabel = [
        {"source_labels": ["__meta_kubernetes_pod_annotation_prometheus_io_scrape"], "regex": "true", "action": "keep"},
        # A pod has a target for each of its ports, and the annotation names one.
        {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "http", "action": "keep"},
        {**where, "regex": r"([^:]+)(?::\d+)?;(\d+)", "replacement": "$1:$2", "target_label": "__address__"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "instance"},
    ]
    found = {"role": "pod", "kubeconfig_file": str(kubeconfig)}
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(each) for each in rules],
        "scrape_configs": [
            {"job_name": "pods", "honor_labels": True, "kubernetes_sd_configs": [found], "relabel_configs": relabel}
        ],
    }
    if alertmanager:
        host = alertmanager.removeprefix("http://")
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [host]}]}]}
    return yaml.safe_dump(config)


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
def _page(text: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

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
