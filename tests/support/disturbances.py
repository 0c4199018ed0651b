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

_REVISION: Final = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """`ends` is the version that serves afterwards, on `replicas` pods. `gentle`: it ends no pod by itself.

    `rolls`: the Deployment controller ends old pods, so that kept connections are cut and only new ones lose nothing.
    """

    name: str
    act: Callable[[Space, Path], None]
    ends: str = "v2"
    replicas: int = 2
    gentle: bool = True
    rolls: bool = False


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


def _resume(space: Space, _: Path) -> None:
    space.kubectl("rollout", "resume", "deployment/shop")


def _undo(space: Space, _: Path) -> None:
    """The patch of `kubectl rollout undo`, without its look at `spec.paused`, which another write may outrun.

    It replaces the template and ALL annotations by those of the ReplicaSet before.
    """
    target = space.get("deployments", "shop")
    sets = [entry for entry in space.list("replicasets") if entry["metadata"]["ownerReferences"][0]["name"] == "shop"]
    sets.sort(key=lambda entry: int(entry["metadata"]["annotations"][_REVISION]))
    old = sets[0]
    kept = {key: value for key, value in target["metadata"]["annotations"].items() if _is_own(key)}
    restored = {key: value for key, value in old["metadata"]["annotations"].items() if not _is_own(key)}
    template = old["spec"]["template"]
    template["metadata"]["labels"].pop("pod-template-hash")
    patch = [
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace", "path": "/metadata/annotations", "value": kept | restored},
    ]
    space.kubectl("patch", "deployment/shop", "--type=json", "-p", json.dumps(patch))


def _is_own(annotation: str) -> bool:
    """The annotation is the Deployment controller's or kubectl's own: an undo leaves it as it is."""
    return annotation.startswith(("deployment.kubernetes.io/", "kubectl.kubernetes.io/last-applied"))


# In a release of v2 there is one ReplicaSet, that of v1: the undo takes the release back.
UNDONE: Final = Disturbance("undone", _undo, ends="v1")
RESUMED: Final = Disturbance("resumed", _resume)
RESUMED_EARLY: Final = Disturbance("resumed early", _resume, rolls=True)
ALL: Final = (
    Disturbance("another template", lambda space, _: _apply(space, template("v3", replicas=2)), ends="v3"),
    Disturbance("scaled up", _scale_up, replicas=3),
    Disturbance("Service applied", lambda space, _: _apply(space, service())),
    Disturbance("Service applied by the server", lambda space, _: _server_side(space, service())),
    Disturbance("Deployment applied", lambda space, _: _apply(space, template("v2", replicas=2))),
    Disturbance("Deployment applied by the server", lambda space, _: _server_side(space, template("v2", replicas=2))),
    Disturbance("helm upgrade", lambda space, folder: install(space, folder, template("v2", replicas=2), service())),
    Disturbance("pod deleted", _delete_pod, gentle=False),
    UNDONE,
)
