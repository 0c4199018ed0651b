"""A real Alertmanager, and its tool that shows the route of an alert."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml

from tests.support.ports import server_port

PROGRAM = "prometheus-alertmanager"
TOOL = "amtool"
_PATIENCE = 30.0


@contextmanager
def running(folder: Path, *, listen: str = "127.0.0.1", webhook: str = "") -> Iterator[str]:
    """URL of a ready Alertmanager on the loopback interface. `webhook`: the receiver of all alerts."""
    config = folder / "alertmanager.yml"
    receiver = {"name": "somebody", **({"webhook_configs": [{"url": webhook}]} if webhook else {})}
    route = {"receiver": "somebody", "group_by": ["alertname", "service"], "group_wait": "1s", "group_interval": "2s"}
    config.write_text(yaml.dump({"route": route, "receivers": [receiver]}))
    port = server_port()
    command = [PROGRAM, f"--config.file={config}", f"--storage.path={folder}/data", "--cluster.listen-address="]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={listen}:{port}"], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def alerts(url: str) -> list[dict[str, Any]]:
    """Alerts that Alertmanager believes to fire."""
    with urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
        firing: list[dict[str, Any]] = json.load(answer)
    return firing


def wait_for_none(url: str) -> None:
    """Waits until Alertmanager believes that nothing fires. Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE
    while firing := alerts(url):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still firing: {firing}")
        time.sleep(0.2)


def quoted(text: str) -> str:
    """The text as Alertmanager's matchers and its tool read it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def route(config: Path, labels: Mapping[str, str]) -> list[str]:
    """The receivers that the configuration selects for these labels."""
    given = [f"{name}={quoted(value)}" for name, value in labels.items()]
    command = [TOOL, "config", "routes", "test", f"--config.file={config}", *given]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return result.stdout.strip().split(",")


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{url}/-/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"Alertmanager is not ready: {log.read_text()}")
