"""Two versions of the operator, one after the other and back: an older one reads what a newer one wrote.

After `helm rollback` the definitions, the settings and the operator are the older ones; status, marks on pods and on
the second Deployment, and the template that serves are as the newer one left them. No restart, release, flag or
notification may be forgotten or begin again for that.
"""

from typing import Any, Final

import pytest

from resilience.adapters.kube import parse, parse_workload, receivers
from resilience.adapters.kube.pod_policies import PodPolicies
from resilience.adapters.kube.pods import PodsReader
from resilience.adapters.kube.shared_lists import SharedLists
from resilience.api.reasons import FailureClass, HealthState, ReplaceStep, Severity
from resilience.api.status import Status
from resilience.core.alerting.receiver import Receiver
from resilience.core.model import requests
from resilience.core.model.observation import Pod, Resource
from resilience.core.report.diff import is_worth_writing
from tests.support.factories import NOW
from tests.support.transport import FakeTransport
from tests.variety import manifests
from tests.variety.manifests import Object

AT: Final = "2026-03-01T11:00:00.000Z"
TEMPLATE: Final = "containers: [{name: app, image: 'shop:1', ports: [{name: http, containerPort: 8080}]}]"
PODS: Final = "/api/v1/namespaces/shop/pods?app=checkout"
RETIRING: Final = "/api/v1/namespaces/shop/pods?resilience.dev/retiring"
SETS: Final = "/apis/apps/v1/namespaces/shop/replicasets?app=checkout"


def resource(status: Object, **annotations: str) -> Resource:
    meta = {"namespace": "shop", "name": "checkout", "uid": "u", "resourceVersion": "1", "annotations": annotations}
    spec = {"targetRef": {"kind": "Deployment", "name": "checkout"}, "later": {"of": "the next version"}}
    return parse.resource({"metadata": meta, "spec": spec, "status": status})


def restart(**fields: Any) -> Object:
    return {"request": "r1", "traceId": "t", "startedAt": AT, "bornBefore": AT, "total": 3, "done": 1} | fields


def test_a_field_that_this_version_does_not_know_is_no_problem() -> None:
    made = resource({"observedGeneration": 1, "later": [1], "restart": restart(later={"a": 1})})

    assert made.spec is not None and not made.problems
    assert made.status.observed_generation == 1 and made.status.restart is not None


def test_a_restart_in_flight_goes_on_though_a_pod_is_in_a_step_of_the_next_version() -> None:
    pods = [
        {"name": "a", "step": "quieting", "since": AT},
        {"name": "b", "step": "leaving", "since": AT},
    ]
    status = resource({"observedGeneration": 1, "restart": restart(pods=pods)}).status

    assert status.restart is not None and (status.restart.request, status.restart.done) == ("r1", 1)
    assert [pod.name for pod in status.restart.pods] == ["b"]


def test_budgets_cool_downs_and_known_contents_are_not_forgotten_for_an_unknown_word_beside_them() -> None:
    recent = [{"at": AT, "policies": ["leak"]}, {"at": {"of": "the next version"}}, {"at": AT, "policies": ["hung"]}]
    known = {"kind": "Secret", "name": "token", "fingerprint": "f", "changedAt": AT}
    kept = {"recent": recent, "contents": [known | {"changedAt": "the next version's"}, known]}
    status = resource({"observedGeneration": 1, "restarts": kept}).status

    assert [past.policies for past in status.restarts.recent] == [["leak"], ["hung"]]
    assert [content.fingerprint for content in status.restarts.contents] == ["f"]


def test_a_flag_stays_on_though_its_state_has_a_word_of_the_next_version() -> None:
    lost = {"name": "redis-degraded", "active": True, "since": AT, "degradedSince": AT, "mode": "memory"}
    other = {"name": "db-degraded", "active": False, "since": AT, "state": "Normal"}
    status = resource({"observedGeneration": 1, "degradation": [lost | {"state": "Proving"}, other]}).status

    assert [(flag.name, flag.on) for flag in status.degradation] == [("redis-degraded", True), ("db-degraded", False)]
    assert status.degradation[0].degraded_since is not None


@pytest.mark.parametrize("value", [True, False])
def test_a_flag_keeps_its_value_under_the_name_that_the_version_before_gave_it(value: bool) -> None:
    # given: in YAML 1.1 the former name is a boolean
    override = {"on": value, "until": AT}
    stored = {"name": "redis-degraded", "on": value, "since": AT, "override": override}

    # when
    status = resource({"observedGeneration": 1, "degradation": [stored]}).status
    (flag,) = status.degradation
    written = flag.to_api()

    # then: it is read, and written under its new name alone, without a write for that
    assert flag.override is not None and (flag.on, flag.override.on) == (value, value)
    assert (written["active"], written["override"]["active"]) == (value, value)
    assert "on" not in written and "on" not in written["override"]
    assert not is_worth_writing(status, Status.model_validate(status.to_api()))


def test_words_that_have_an_unknown_are_unknown() -> None:
    version = {"hash": "h", "image": "shop:2"}
    failure = {"class": "Licence", "reason": "R", "version": version, "at": AT}
    checks = [{"name": "ready", "state": "Brown"}, {"name": "live", "state": "Healthy"}]
    rollout = {"failure": failure, "step": "Soaking"}
    status = resource({"observedGeneration": 1, "rollout": rollout, "health": {"checks": checks}}).status

    assert status.rollout.failure is not None and status.rollout.failure.class_ is FailureClass.UNKNOWN
    assert status.rollout.step == "Soaking"
    assert [check.state for check in status.health.checks] == [HealthState.UNKNOWN, HealthState.HEALTHY]


def test_an_alert_of_the_next_version_hides_no_other() -> None:
    known = {"name": "ServiceDown", "severity": "critical", "since": AT}
    later = [{"name": "CertificateExpires", "severity": "warning", "since": AT}, known | {"severity": "page"}, known]
    status = resource({"observedGeneration": 1, "alerts": {"firing": later, "undelivered": 2}}).status

    assert [(alert.name, alert.severity) for alert in status.alerts.firing] == [("ServiceDown", Severity.CRITICAL)] * 2
    assert status.alerts.undelivered == 2


@pytest.mark.parametrize("count", [20, 25])
def test_a_list_that_the_next_version_lets_grow_keeps_its_newest_entries(count: int) -> None:
    entries = [{"at": AT, "kind": "Restart", "result": str(number)} for number in range(count)]
    status = resource({"observedGeneration": 1, "history": entries}).status

    assert [entry.result for entry in status.history] == [str(number) for number in range(count)][-20:]
    assert status.observed_generation == 1


def test_a_request_is_never_executed_again_because_its_record_cannot_be_read() -> None:
    handled = [{"request": "restart", "value": "r1", "at": "at noon"}, {"request": "abort", "value": "a1", "at": AT}]
    notes = {"resilience.dev/restart-requested-at": "r1", "resilience.dev/abort-requested-at": "a1"}
    made = resource({"observedGeneration": 1, "handled": handled}, **notes)

    after = requests.ignore_preexisting(made.annotations, made.status, now=NOW)

    assert {entry.request: entry.value for entry in after.handled} == {"restart": "r1", "abort": "a1"}


def receiver(told: list[Object]) -> Receiver:
    conversation = {"id": "c", "beganAt": AT, "openedAt": AT, "sentAt": AT, "told": told, "later": 1}
    meta = {"namespace": "shop", "name": "team", "uid": "u", "resourceVersion": "1"}
    return receivers.parse({"metadata": meta, "spec": {}, "status": {"conversations": [conversation], "delivered": 7}})


def test_nobody_is_notified_again_because_one_entry_of_a_conversation_cannot_be_read() -> None:
    usual = {"since": AT, "toldAt": AT, "severity": "warning"}
    told = [
        usual | {"alert": "shop/checkout/ServiceDown/", "severity": "page"},
        usual | {"alert": "shop/checkout/RestartLoop/", "toldAt": "at noon"},
        usual | {"alert": "shop/checkout/QueueBehind/jobs"},
    ]
    status = receiver(told).status

    assert status.delivered == 7
    assert [entry.alert.split("/")[2] for entry in status.conversations[0].told] == ["ServiceDown", "QueueBehind"]


async def marked(step: str, *, app: str = "checkout") -> Pod:
    """A pod that was taken over and marked with this step."""
    made = manifests.template(TEMPLATE)
    raw = manifests.pod(made, "a")
    raw["metadata"]["labels"] |= {"resilience.dev/retiring": step, "app": app}
    raw["metadata"]["annotations"] = {"resilience.dev/retiring-since": AT, "resilience.dev/taken-over-at": AT}
    workload = manifests.read_workload(manifests.deployment(made))
    raw["metadata"]["ownerReferences"] = [{"kind": "Deployment", "uid": workload.uid, "controller": True}]
    transport: Any = FakeTransport(
        held={PODS if app == "checkout" else RETIRING: [raw], SETS: [manifests.replica_set(made)]}
    )
    reader = PodsReader(
        transport=transport,
        lists=SharedLists(transport=transport),
        policies=PodPolicies(transport=transport, namespaces=()),
    )
    view = await reader.view(workload, releases=False, limits=True)
    (pod,) = view.pods
    return pod


@pytest.mark.parametrize(
    ("app", "step"), [("checkout", ReplaceStep.REPLACING), ("left", ReplaceStep.LEAVING)], ids=["serves", "has left"]
)
async def test_a_pod_in_a_step_of_the_next_version_is_still_being_replaced(app: str, step: ReplaceStep) -> None:
    pod = await marked("quieting", app=app)

    assert pod.step is step and pod.step_since is not None and pod.taken_at is not None


def test_the_fingerprint_of_a_template_never_changes() -> None:
    """Deployments carry it: with another one, an upgrade would release every service, or take every one for failed."""
    made = {
        "metadata": {"labels": {"app": "shop", "pod-template-hash": "x"}, "annotations": {"a": "é"}},
        "spec": {
            "containers": [{"name": "app", "image": "shop:1", "ports": [{"containerPort": 8080}], "tty": False}],
            "terminationGracePeriodSeconds": 30,
        },
    }

    assert parse_workload.fingerprint(made) == "98870b3040"
