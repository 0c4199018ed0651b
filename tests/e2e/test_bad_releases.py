"""A release that fails ends on the version before it: no request is lost, and status says what to do."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from tests.support.counts import PROOF, Figures, count
from tests.support.kube import Object
from tests.support.registry import Registry
from tests.support.release import Release
from tests.support.rollouts import Endpoints, adopted, at_rest, release, rollout, serves, shop, template
from tests.support.space import Space
from tests.support.traffic import traffic

QUICK = {"progressDeadline": "8s"}


@dataclass(frozen=True, slots=True)
class Case:
    """What is wrong with the new template, and what has to be said about it."""

    name: str
    kind: str
    says: str
    template: Object = field(default_factory=dict)
    rollout: Object = field(default_factory=dict)
    # Kind of refusal of the registry that the image comes from.
    image: str = ""


_LONG = {"blueGreen": {"warmPeriod": "30s"}}
_SHORT = {"blueGreen": {"warmPeriod": "1s"}}
_SECRET = {"pod": {"imagePullSecrets": [{"name": "pull"}]}}
_NO_VOLUME = {
    "pod": {"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "c", "configMap": {"name": "nosuch"}}]},
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "c", "mountPath": "/etc/c"}],
}
_NO_MAP = {"env": {"KNOB": {"configMapKeyRef": {"name": "nosuch", "key": "k"}}}}
CASES = (
    Case("crash loop", "Unknown", "--previous", {"env": {"CRASH": "1"}}),
    Case("5xx after the switch", "Verification", "health", {"env": {"FAIL_HEALTH_AFTER": "5"}}, _LONG),
    Case("no such image", "Configuration", "push image", image="missing"),
    Case("bad pull secret", "Authentication", "Secret pull", _SECRET, image="private"),
    Case("never ready", "Timeout", "probe", {"env": {"FAIL_READY": "1"}}, QUICK),
    Case("ConfigMap missing", "Configuration", "nosuch", _NO_MAP),
    Case("volume missing", "Configuration", "create ConfigMap nosuch", _NO_VOLUME),
    Case("unschedulable", "Resource", "node", {"pod": {"nodeSelector": {"no": "where"}}}, QUICK),
    Case("over quota", "Resource", "quota", {}, QUICK),
    Case("slow start", "Timeout", "not complete within 8s", {"env": {"START_DELAY": "60"}}, QUICK),
)


@pytest.fixture(scope="module")
def registry(release: Release) -> Iterator[Registry]:
    with Registry(release.kube) as registry:
        yield registry


def pull_secret(registry: Registry) -> Object:
    auth = base64.b64encode(b"somebody:wrong").decode()
    content = {"auths": {f"localhost:{registry.port}": {"username": "somebody", "password": "wrong", "auth": auth}}}
    data = base64.b64encode(json.dumps(content).encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": data},
    }


def broken(case: Case, registry: Registry, version: str) -> Object:
    fields: dict[str, Any] = dict(case.template)
    if case.image:
        fields |= {"image": registry.image(case.image), "imagePullPolicy": "IfNotPresent"}
    return template(version, replicas=2, **fields)


@pytest.mark.load
@pytest.mark.long
@pytest.mark.parametrize("case", CASES if PROOF else CASES[:3], ids=lambda case: case.name)
def test_a_bad_release_ends_on_the_old_version(
    operator: Release, registry: Registry, space: Space, figures: Figures, case: Case
) -> None:
    # given
    adopted(space, pull_secret(registry), *shop("v1", replicas=2, rollout=rollout(**case.rollout)))
    before = space.uids()
    if case.name == "over quota":
        space.allow_pods(2)
    # when
    with Endpoints(space) as endpoints, traffic(space.url(), rate=count(10, proof=20)) as clients:
        result = release(space, broken(case, registry, "v2"))
    # then: the same pods serve, and no client noticed
    assert result["result"] == "RolledBack", result
    assert clients.failed == 0, clients.failures()
    assert endpoints.fewest() >= 2, endpoints.story()
    assert serves(space) == {"v1"}
    assert space.uids() == before
    at_rest(space)
    # and: people are told what it was and what to do
    failure = space.status()["rollout"]["failure"]
    assert failure["class"] == case.kind, failure
    assert case.says in f"{failure['message']} {failure['advice']}", failure
    assert space.condition("Stalled")["reason"] == "RolloutFailed"
    assert space.condition("Ready")["reason"] == "RolledBack"
    told = "\n".join(space.events())
    assert failure["advice"] in told
    assert case.name != "crash loop" or "fatal: no database configured" in told
    assert clients.own is not None
    figures.write(
        kind=failure["class"],
        reason=failure["reason"],
        duration=result["duration"],
        back_after=_seconds_back(failure, clients.own.started_at, clients.own.new.versions),
        **clients.figures(),
    )
    # when: a corrected one comes, which need not be watched for long
    if case.name == "over quota":
        space.delete("resourcequota", "full")
    watched = shop("v3", replicas=2, rollout=rollout(**case.rollout | _SHORT))[-1]
    result = release(space, template("v3", replicas=2), watched)
    # then
    assert result["result"] == "Succeeded", result
    assert serves(space) == {"v3"}
    space.wait_running()


def _seconds_back(failure: Object, began: datetime, versions: dict[str, Any]) -> float | None:
    """From the decision until no new connection met the bad version any more; None when none ever did."""
    if "v2" not in versions:
        return None
    decided = datetime.fromisoformat(failure["at"])
    last: float = versions["v2"].last
    return round(max(last - (decided - began).total_seconds(), 0.0), 2)


@pytest.mark.load
def test_a_rollback_is_quick(operator: Release, space: Space, figures: Figures) -> None:
    """From the decision to all new connections on the old colour, again and again."""
    # given
    settings = rollout(after={"checks": ["health"]}, blueGreen={"warmPeriod": "30s"})
    adopted(space, *shop("v0", replicas=2, rollout=settings))
    taken = []
    with traffic(space.url(), rate=count(10, proof=20)) as clients:
        for number in range(1, (20 if PROOF else 2) + 1):
            # when: a version that is healthy only until it has served a little
            result = release(space, template(f"bad{number}", replicas=2, env={"FAIL_HEALTH_AFTER": "5"}))
            assert result["result"] == "RolledBack", result
            decided = datetime.fromisoformat(space.status()["rollout"]["failure"]["at"])
            assert clients.load is not None
            seen = clients.load.result()
            last = seen.new.versions[f"bad{number}"].last
            taken.append(round(last - (decided - seen.started_at).total_seconds(), 2))
    # then
    ranked = sorted(taken)
    figures.write(rollbacks=len(taken), back_after=taken, **clients.figures())
    assert clients.failed == 0, clients.failures()
    assert not PROOF or ranked[int(len(ranked) * 0.95)] < 5, taken
