"""Two versions of the operator in one Helm release: to the later one and back, at a moment that the test chooses.

A rolling update replaces the leader seconds after it began. So the update is held (`kubectl rollout pause`) with one
ready pod of the other version beside the leader, and let go when the test says: the leader is the first pod to end.
"""

import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.images import LATER
from tests.support.chart import CHART
from tests.support.kube import Object, wait_until
from tests.support.release import NAME, Release

# What the later version writes in place of the words of this tree; see tests/cluster/later/later.py.
WORDS: Final = {"Soaking": "Warm", "quieting": "draining"}
_TARGET: Final = f"deployment/{NAME}"
# The controller deletes pods with the smallest cost first.
_FIRST_TO_END: Final = "controller.kubernetes.io/pod-deletion-cost=-1000"


def later_chart(folder: Path) -> Path:
    """The chart of the later version: its definition has the new word and field, its settings one more name."""
    chart = folder / "later"
    shutil.copytree(CHART, chart)
    description = chart / "Chart.yaml"
    description.write_text(description.read_text().replace("0.1.0", "0.2.0"))
    helpers = chart / "templates/_helpers.tpl"
    before = helpers.read_text()
    helpers.write_text(before.replace('dict "log_level"', 'dict "later_setting" "of the later version" "log_level"'))
    assert helpers.read_text() != before, "the chart's live settings have another form now"
    definition = chart / "files/crds/resilience.dev_resilientservices.yaml"
    made: Object = yaml.load(definition.read_text(), Loader=yaml.CSafeLoader)
    for version in made["spec"]["versions"]:
        status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
        status["writtenBy"] = {"type": "string", "maxLength": 1024}
        pods = status["restart"]["properties"]["pods"]["items"]["properties"]
        pods["step"]["enum"] += list(WORDS)
    definition.write_text(yaml.dump(made, Dumper=yaml.CSafeDumper))
    return chart


class Versions:
    """Prepares an upgrade or a rollback, and lets it go. `close` brings this tree's version back, whatever happened."""

    def __init__(self, operator: Release, chart: Path) -> None:
        self._operator = operator
        self._chart = chart
        self._image = ""

    def prepare_upgrade(self) -> None:
        """Begins the upgrade to the later version, image, chart and values, and holds it."""
        repository, tag = LATER.tag.rsplit(":", 1)
        values: dict[str, Any] = {
            "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
            "policies": {"usageIntervalSeconds": 6, "atOnce": 9},
        }
        self._operator.begin_upgrade(self._chart, **values)
        self._hold()

    def prepare_rollback(self) -> None:
        """Begins the rollback to the version before, and holds it."""
        self._operator.begin_rollback()
        self._hold()

    def go(self) -> str:
        """Lets the update go on: the leader gets SIGTERM at once. Returns the name of the leader's pod."""
        leader = self._operator.leader()
        self._operator.kube.kubectl("rollout", "resume", _TARGET)
        return leader

    def finish(self, before: str) -> None:
        """Waits until all replicas are of the other version, and one of them leads instead of the pod before."""
        self._operator.settle()
        leader = wait_until(lambda: name if (name := self._operator.leader()) != before else None, what="a hand-over")
        pods = self._operator.pods()
        assert {_image(pod) for pod in pods} == {self._image}, f"led by {leader}"
        assert not any(self._operator.restarts().values()), "no replica crashed"

    def close(self) -> None:
        """Resumes what is held, and installs this tree's version unless it is there."""
        self._operator.kube.patch("deployment", NAME, {"spec": {"paused": None}})
        self._operator.ensure()
        self._operator.settle()

    def _hold(self) -> None:
        old = self._operator.leader()
        known = {pod["metadata"]["name"] for pod in self._operator.pods() if _image(pod) == self._leaders_image(old)}

        def other() -> Object | None:
            return next((pod for pod in self._operator.pods() if pod["metadata"]["name"] not in known), None)

        new = wait_until(other, what="a pod of the other version", every=0.02)
        self._operator.kube.kubectl("rollout", "pause", _TARGET)
        self._image = _image(new)
        assert self._image != self._leaders_image(old)
        self._operator.kube.kubectl("wait", "--for=condition=Ready", f"pod/{new['metadata']['name']}", "--timeout=60s")
        self._operator.kube.kubectl("annotate", "pod", self._operator.leader(), "--overwrite", _FIRST_TO_END)

    def _leaders_image(self, name: str) -> str:
        return _image(self._operator.kube.get("pods", name))


def _image(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])
