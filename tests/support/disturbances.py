"""Changes that people and tools make to a service in the middle of its release, in their own way.

Must not know at which step they make them.
"""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.chart import helm
from tests.support.kube import Object
from tests.support.rollouts import template
from tests.support.shop_manifests import service
from tests.support.space import Space


@dataclass(frozen=True, slots=True)
class Disturbance:
    """`ends` is the version that serves afterwards, on `replicas` pods. `gentle`: it ends no pod by itself."""

    name: str
    act: Callable[[Space, Path], None]
    ends: str = "v2"
    replicas: int = 2
    gentle: bool = True


def _apply(space: Space, *objects: Object) -> None:
    space.apply(*objects)


def _server_side(space: Space, *objects: Object) -> None:
    """Applies on the server, as Flux does."""
    items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    options = ("--server-side", "--force-conflicts", "--field-manager=gitops")
    space.kubectl("apply", *options, "-f", "-", stdin=json.dumps(items))


def install(space: Space, folder: Path, *objects: Object) -> None:
    """Installs or upgrades a chart with these objects."""
    chart = folder / "chart"
    (chart / "templates").mkdir(parents=True, exist_ok=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 0.1.0\n")
    for item in objects:
        (chart / "templates" / f"{item['kind'].lower()}.yaml").write_text(json.dumps(item))
    env = {**os.environ, "KUBECONFIG": str(space.cluster.kubeconfig_path)}
    command = [helm(), "upgrade", "--install", "shop", str(chart), "--namespace", space.namespace, "--take-ownership"]
    result = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert result.returncode == 0, result.stderr


def _scale_up(space: Space, _: Path) -> None:
    space.kubectl("scale", "deployment/shop", "--replicas=3")


def _delete_pod(space: Space, _: Path) -> None:
    space.delete("pod", space.shop_pods()[0]["metadata"]["name"], "--wait=false")


ALL: Final = (
    Disturbance("another template", lambda space, _: _apply(space, template("v3", replicas=2)), ends="v3"),
    Disturbance("scaled up", _scale_up, replicas=3),
    Disturbance("Service applied", lambda space, _: _apply(space, service())),
    Disturbance("Service applied by the server", lambda space, _: _server_side(space, service())),
    Disturbance("Deployment applied", lambda space, _: _apply(space, template("v2", replicas=2))),
    Disturbance("Deployment applied by the server", lambda space, _: _server_side(space, template("v2", replicas=2))),
    Disturbance("helm upgrade", lambda space, folder: install(space, folder, template("v2", replicas=2), service())),
    Disturbance("pod deleted", _delete_pod, gentle=False),
)
