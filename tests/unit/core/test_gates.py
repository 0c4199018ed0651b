"""Gates of a release: what passes, what is waited for, what decides, and what is asked of whom."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.reasons import FailureClass, HealthState
from resilience.api.v1alpha1 import Gate
from resilience.core.health import thresholds
from resilience.core.health.reach import UNREACHABLE
from resilience.core.model.check_state import CheckState
from resilience.core.model.observation import Observation
from resilience.core.model.probes import GrpcProbe, HttpProbe, HttpTarget, PrometheusProbe, TcpProbe
from resilience.core.model.profiles import resolve
from resilience.core.model.workload import ContainerPort
from resilience.core.rollouts import gates
from resilience.core.rollouts.gates import SILENCE
from tests.support.factories import NOW, make_check, make_pod, make_seen, make_service, make_spec

A, B = make_pod("a"), make_pod("b")
HEALTHY, UNHEALTHY, UNKNOWN = HealthState.HEALTHY, HealthState.UNHEALTHY, HealthState.UNKNOWN
GATE = Gate.model_validate({"checks": ["ready", "parts"], "for": "10s"})
LONG = timedelta(minutes=1)


def said(state: HealthState = HEALTHY, *, ago: timedelta = LONG, **fields: Any) -> CheckState:
    both = {pod.uid: state for pod in (A, B)}
    words: dict[str, Any] = {
        "since": NOW - ago,
        "reason": "Said",
        "message": "it said so",
        "silent": state is UNKNOWN,
    }
    return make_check(state=state, **words | {"by_pod": both} | fields)


def evaluate(gate: Gate | None = GATE, *, brief: bool = False, **checks: CheckState) -> gates.GateVerdict:
    seen = make_seen(checks={gates.PREFIX + name: state for name, state in checks.items()})
    return gates.evaluate(gate, seen, (A, B), NOW, brief=brief)


def test_without_a_gate_nothing_is_waited_for() -> None:
    found = evaluate(None)

    assert found.passed and found.since == NOW and found.failure is None


@pytest.mark.parametrize(
    ("checks", "words", "inconclusive"),
    [
        ({}, "check ready has not run against the candidate yet", False),
        ({"ready": said()}, "check parts has not run against the candidate yet", False),
        ({"ready": said(), "parts": said(UNKNOWN)}, "check parts is inconclusive: it said so", True),
        ({"ready": said(UNKNOWN, by_pod={}), "parts": said()}, "check ready is inconclusive: it said so", True),
        # Not often enough yet, or another one has not run at all.
        ({"ready": said(), "parts": said(UNKNOWN, silent=False)}, "check parts is inconclusive: it said so", False),
        ({"ready": said(UNKNOWN)}, "check ready is inconclusive: it said so", False),
        ({"ready": said(by_pod={A.uid: HEALTHY}), "parts": said()}, "pod b has not passed check ready", False),
        (
            {"ready": said(), "parts": said(by_pod={A.uid: HEALTHY, B.uid: UNKNOWN})},
            "pod b has not passed check parts",
            False,
        ),
    ],
)
@pytest.mark.parametrize("brief", [False, True])
def test_silence_is_waited_for_and_never_decides(checks: Any, words: str, inconclusive: bool, brief: bool) -> None:
    found = evaluate(brief=brief, **checks)

    assert (found.passed, found.failure) == (False, None)
    assert (found.waiting, found.inconclusive) == (words, inconclusive)


@pytest.mark.parametrize(
    ("checks", "reason"),
    [
        ({"ready": said(), "parts": said(UNKNOWN, ago=SILENCE)}, "GateInconclusive"),
        ({"parts": said(UNKNOWN, ago=SILENCE)}, "GateInconclusive"),
        ({"ready": said(UNKNOWN, ago=SILENCE), "parts": said(UNKNOWN, reason=UNREACHABLE)}, "GateUnreachable"),
        # Not for long, not often, not at all.
        ({"ready": said(), "parts": said(UNKNOWN, ago=SILENCE - timedelta(seconds=1))}, None),
        ({"ready": said(), "parts": said(UNKNOWN, silent=False, ago=SILENCE)}, None),
        ({"ready": said()}, None),
    ],
)
def test_silence_that_lasts_ends_the_gate_at_the_deadline(checks: Any, reason: str | None) -> None:
    late = evaluate(**checks).at_deadline

    assert (late.reason if late is not None else None) == reason


@pytest.mark.parametrize(
    "checks",
    [
        {"ready": said(UNHEALTHY)},
        {"parts": said(UNKNOWN), "ready": said(UNHEALTHY, by_pod={})},
        # One pod that never passed says nothing about the whole, and is a candidate all the same.
        {"ready": said(by_pod={A.uid: HEALTHY, B.uid: UNHEALTHY}), "parts": said()},
    ],
)
@pytest.mark.parametrize("brief", [False, True])
def test_a_failure_decides_whatever_else_is_unknown(checks: Any, brief: bool) -> None:
    failure = evaluate(brief=brief, **checks).failure

    assert failure is not None and (failure.kind, failure.reason) == (FailureClass.VERIFICATION, "GateFailed")
    assert failure.message == "check ready failed on the candidate: it said so"
    assert "check ready fails" in failure.advice
    assert not failure.is_transient and not failure.may_clear


def test_a_pod_that_is_no_candidate_fails_no_gate() -> None:
    elsewhere = said(by_pod={A.uid: HEALTHY, B.uid: HEALTHY, "uid-old": UNHEALTHY})

    assert evaluate(ready=elsewhere, parts=said()).passed


@pytest.mark.parametrize(
    ("ready", "parts", "left"),
    [
        (60, 60, None),
        (10, 60, None),
        (4, 60, 6),
        (60, 1, 9),
        (0, 0, 10),
    ],
)
def test_all_have_to_pass_for_the_time_without_a_break(ready: int, parts: int, left: int | None) -> None:
    spans = [timedelta(seconds=each) for each in (ready, parts)]
    checks: dict[str, Any] = {name: said(ago=span) for name, span in zip(GATE.checks, spans, strict=True)}

    found, brief = evaluate(**checks), evaluate(brief=True, **checks)

    assert found.passed is (left is None)
    assert found.wait == (None if left is None else timedelta(seconds=left))
    assert found.since == NOW - min(spans)
    assert ("checks ready, parts pass" in found.waiting) is (left is not None)
    assert brief.passed and brief.since == found.since


def test_the_time_begins_when_the_last_pod_passed() -> None:
    late = said(settled_since=NOW - timedelta(seconds=3))

    assert evaluate(ready=late, parts=said()).wait == timedelta(seconds=7)


def test_a_query_passes_for_all_pods_at_once() -> None:
    assert evaluate(ready=said(by_pod={}), parts=said(by_pod={})).passed


def test_what_has_not_run_yet_is_never_taken_for_a_pass() -> None:
    begun = {pod.uid: thresholds.initial(now=NOW) for pod in (A, B)}

    found = evaluate(ready=thresholds.over_pods("ready", begun, now=NOW), parts=said())

    assert not found.passed and found.failure is None


CHECKS: list[dict[str, Any]] = [
    {"name": "ready", "http": {"path": "/readyz"}},
    {"name": "live", "scope": "Pod", "http": {"path": "/livez", "port": "http"}},
    {"name": "tcp", "tcp": {}},
    {"name": "grpc", "scope": "Pod", "grpc": {"port": 9000, "service": "shop"}},
    {"name": "errors", "prometheus": {"query": "sum(up)", "above": "3"}},
    {"name": "elsewhere", "http": {"path": "/", "port": 81}},
]


def asked(*names: str, pods: Any = (A, B), **seen: Any) -> list[Any]:
    spec = make_spec(health={"checks": CHECKS, "interval": "5s"})
    gate = Gate.model_validate({"checks": list(names)})
    observed: Observation = make_seen(**seen)
    return list(gates.check_targets(gate, spec, resolve(spec), observed, pods))


@pytest.mark.parametrize(
    ("name", "probe"),
    [
        ("ready", lambda ip: HttpProbe(HttpTarget(ip, 8080, "/readyz", host_header="checkout.shop.svc"))),
        ("live", lambda ip: HttpProbe(HttpTarget(ip, 8080, "/livez"))),
        ("tcp", lambda ip: TcpProbe(ip, 8080)),
        ("grpc", lambda ip: GrpcProbe(ip, 9000, "shop")),
    ],
)
def test_every_pod_is_asked_by_its_own_address_whatever_the_scope(name: str, probe: Any) -> None:
    found = asked(name)

    assert [(each.pod_uid, each.probe) for each in found] == [(pod.uid, probe(pod.ip)) for pod in (A, B)]
    assert {(each.check, each.interval) for each in found} == {(f"gate/{name}", gates.INTERVAL)}
    assert {(each.failure_threshold, each.success_threshold) for each in found} == {(3, 2)}


@pytest.mark.parametrize("pods", [(), (A,), (A, B)])
def test_a_query_is_asked_once(pods: Any) -> None:
    found = asked("errors", pods=pods)

    assert [(each.check, each.pod_uid) for each in found] == [("gate/errors", "")]
    assert isinstance(found[0].probe, PrometheusProbe) and found[0].probe.namespace == "shop"


@pytest.mark.parametrize(
    ("names", "pods", "seen"),
    [
        (("unheard-of",), (A,), {}),
        (("elsewhere",), (A,), {}),
        (("ready",), (make_pod("a", ip=""),), {}),
        (("ready",), (make_pod("a", ports=(ContainerPort("admin", 1),)),), {}),
        (("ready",), (A,), {"services": (make_service(ports=()),)}),
        (("ready",), (A,), {"workload": None}),
    ],
)
def test_who_cannot_be_asked_is_not_asked(names: Any, pods: Any, seen: Any) -> None:
    assert asked(*names, pods=pods, **seen) == []


def test_no_gate_asks_nobody() -> None:
    spec = make_spec()

    assert gates.check_targets(None, spec, resolve(spec), make_seen(A), (A,)) == ()
