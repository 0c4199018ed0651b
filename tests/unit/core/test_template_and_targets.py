"""What is written into the pod template, and where checks go to."""

from datetime import timedelta
from typing import Any

import pytest

from resilience.api.names import FIELD_MANAGER
from resilience.core.health import ports, targets
from resilience.core.model.bounds import Bounds, Levels
from resilience.core.model.decision import ApplyTemplate
from resilience.core.model.probes import GrpcProbe, HttpProbe, PrometheusProbe, TcpProbe
from resilience.core.model.profiles import resolve
from resilience.core.model.workload import Container
from resilience.core.ownership import managed_probes
from resilience.core.reconcile import decide
from resilience.core.report import prerequisites
from tests.support.factories import (
    LIVE_CHECK,
    NOW,
    READY_CHECK,
    make_container,
    make_endpoint,
    make_pod,
    make_resource,
    make_seen,
    make_service,
    make_spec,
    make_workload,
    owned,
)

READY = {
    "httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTP"},
    "periodSeconds": 2,
    "timeoutSeconds": 1,
    "failureThreshold": 3,
}
SLEEP = {"preStop": {"sleep": {"seconds": 2}}}


def managed(**fields: Any) -> Any:
    return make_spec(
        **{"probes": {"readiness": {"check": "ready"}}, "health": {"checks": [READY_CHECK, LIVE_CHECK]}} | fields
    )


def plan(spec: Any, container: Container | None = None) -> managed_probes.TemplatePlan:
    return managed_probes.plan(
        spec, resolve(spec), container or make_container(), make_service(), grace_period=timedelta(seconds=30)
    )


def test_probes_and_hook_are_rendered() -> None:
    asked = {"readiness": {"check": "ready"}, "startup": {"check": "live", "maxDuration": "90s"}}

    found = plan(managed(probes=asked))

    assert found.fields["readinessProbe"] == READY
    assert found.fields["startupProbe"] == {
        "httpGet": {"path": "/livez", "port": "http", "scheme": "HTTP"},
        "periodSeconds": 1,
        "timeoutSeconds": 1,
        "failureThreshold": 90,
    }
    assert found.fields["lifecycle"] == SLEEP
    assert not found.in_sync and not found.conflicts


def test_no_pre_stop_means_no_hook() -> None:
    assert "lifecycle" not in plan(managed(drain={"preStop": "0s"})).fields


@pytest.mark.parametrize("service", ["", "shop"])
def test_the_service_of_a_grpc_probe_is_always_written(service: str) -> None:
    check = {"name": "ready", "scope": "Pod", "grpc": {"port": "http", "service": service}}
    had = {"grpc": {"port": 8080, "service": "old"}, "periodSeconds": 2, "timeoutSeconds": 1, "failureThreshold": 3}
    container = make_container(fields={"readinessProbe": had}, owners=owned("readinessProbe"))

    found = plan(managed(health={"checks": [check]}, drain={"preStop": "0s"}), container)

    assert not found.in_sync
    assert found.fields["readinessProbe"] == had | {"grpc": {"port": 8080, "service": service}}


@pytest.mark.parametrize(
    ("live", "owners", "written", "conflict", "in_sync"),
    [
        (None, {}, True, False, False),
        (READY | {"successThreshold": 1}, {FIELD_MANAGER}, True, False, True),
        (READY | {"periodSeconds": 9}, {FIELD_MANAGER}, True, False, False),
        (READY, {"helm"}, False, False, True),
        (READY | {"periodSeconds": 9}, {"helm"}, False, True, True),
        (READY, {FIELD_MANAGER, "helm"}, True, False, True),
        (READY | {"periodSeconds": 9}, {FIELD_MANAGER, "helm"}, False, True, False),
        (READY | {"periodSeconds": 9}, set(), False, True, True),
    ],
)
def test_a_field_of_somebody_else_is_a_conflict_and_left_alone(
    live: Any, owners: set[str], written: bool, conflict: bool, in_sync: bool
) -> None:
    container = make_container(
        fields={"readinessProbe": live} if live else {}, owners={"readinessProbe": frozenset(owners)} if owners else {}
    )

    found = plan(managed(drain={"preStop": "0s"}), container)

    assert ("readinessProbe" in found.fields, bool(found.conflicts), found.in_sync) == (written, conflict, in_sync)


@pytest.mark.parametrize(("grace", "sleep"), [(30, 20), (20, 19), (2, 1), (1, None)])
def test_the_hook_sleeps_less_than_the_templates_grace_period(grace: int, sleep: int | None) -> None:
    spec = managed(drain={"preStop": "20s"})

    found = managed_probes.plan(
        spec, resolve(spec), make_container(), make_service(), grace_period=timedelta(seconds=grace)
    )

    assert found.fields.get("lifecycle") == (None if sleep is None else {"preStop": {"sleep": {"seconds": sleep}}})


def test_give_up_is_in_sync_when_nothing_is_ours() -> None:
    assert managed_probes.empty_plan(
        make_container(fields={"readinessProbe": READY}, owners=owned("readinessProbe", by="x"))
    ).in_sync
    assert not managed_probes.empty_plan(
        make_container(fields={"readinessProbe": READY}, owners=owned("readinessProbe"))
    ).in_sync


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"name": "ready", "http": {"path": "/", "port": "admin"}}, "Service has no port admin"),
        ({"name": "ready", "scope": "Pod", "tcp": {"port": "admin"}}, "container app has no port admin"),
    ],
)
def test_a_port_that_is_missing_is_named(check: Any, words: str) -> None:
    with pytest.raises(ports.PortMissing, match=words):
        plan(managed(health={"checks": [check]}))


def adopting(container: Container | None = None, **workload: Any) -> Any:
    resource = make_resource(managed(), annotations={"resilience.dev/adopt-requested-at": "now"})
    seen = make_seen(
        make_pod(), workload=make_workload(replicas=1, containers=[container or make_container()], **workload)
    )
    return decide(resource, seen, NOW)


def test_adopt_is_handled_only_when_the_fields_are_in_place() -> None:
    synced = make_container(
        fields={"readinessProbe": READY, "lifecycle": SLEEP}, owners=owned("readinessProbe", "lifecycle")
    )

    before, after = adopting(), adopting(synced)

    assert [type(each) for each in before.actions] == [ApplyTemplate]
    assert before.status.handled == []
    assert after.actions == ()
    assert [each.request for each in after.status.handled] == ["adopt"]


def test_fields_wait_for_the_next_rollout_unless_it_rolls_anyway() -> None:
    resource = make_resource(managed())

    def actions(**workload: Any) -> list[type]:
        return [type(each) for each in decide(resource, make_seen(workload=make_workload(**workload)), NOW).actions]

    assert actions() == []
    assert actions(updated=1) == [ApplyTemplate]
    assert actions(replicas=0) == [ApplyTemplate]
    assert actions(updated=1, observed_generation=0) == []


def check_targets(*checks: Any, seen: Any = None, **fields: Any) -> list[Any]:
    spec = make_spec(health={"checks": list(checks)}, **fields)
    return list(targets.check_targets(spec, resolve(spec), seen or make_seen(make_pod("a"), make_pod("b"))))


def test_a_service_check_speaks_to_the_service_and_a_pod_check_to_every_pod() -> None:
    at_service, *at_pods = check_targets(READY_CHECK | {"http": {"path": "/readyz", "expectStatus": [204]}}, LIVE_CHECK)

    assert isinstance(at_service.probe, HttpProbe)
    assert (at_service.probe.target.host, at_service.probe.target.port) == ("10.96.0.1", 80)
    assert at_service.probe.expect == {204}
    assert [each.pod_uid for each in at_pods] == ["uid-a", "uid-b"]
    assert {each.probe.target.port for each in at_pods} == {8080}


def test_tcp_and_grpc_checks_become_their_probes() -> None:
    kinds = check_targets({"name": "t", "tcp": {}}, {"name": "g", "grpc": {"service": "shop"}})

    assert [type(each.probe) for each in kinds] == [TcpProbe, GrpcProbe]


QUERY_CHECK = {"name": "errors", "prometheus": {"query": "sum(errors)", "above": "0.05", "below": "-1"}}


def test_a_query_is_asked_once_in_the_namespace_of_the_target() -> None:
    (found,) = check_targets(QUERY_CHECK)

    assert (found.check, found.pod_uid) == ("errors", "")
    assert found.probe == PrometheusProbe("sum(errors)", "shop", Levels(Bounds(above=0.05, below=-1.0)))


def test_a_query_needs_a_target_and_no_service() -> None:
    alone = make_seen(make_pod("a"), services=())

    (found,) = check_targets(QUERY_CHECK, service=None, seen=alone)
    assert found.probe == PrometheusProbe("sum(errors)", "shop", Levels(Bounds(above=0.05, below=-1.0)))
    assert check_targets(QUERY_CHECK, seen=make_seen(make_pod("a"), workload=None)) == []


def test_a_query_has_no_port_that_could_be_missing() -> None:
    spec = make_spec(health={"checks": [QUERY_CHECK, READY_CHECK]})

    assert prerequisites.find(make_resource(spec), make_seen(make_pod("a"))).status is False
    alone = make_spec(health={"checks": [QUERY_CHECK]}, service=None)
    assert prerequisites.find(make_resource(alone), make_seen(make_pod("a"), services=())).status is False


def test_a_probe_that_asks_prometheus_is_named() -> None:
    with pytest.raises(ports.PortMissing, match="check ready: a prometheus check queries no pod"):
        plan(managed(health={"checks": [QUERY_CHECK | {"name": "ready"}]}))


def test_pods_of_another_service_are_not_ours_to_check() -> None:
    other = make_pod("z", labels={"app": "other"})
    seen = make_seen(make_pod("a"), services=(make_service(), make_service("other", selector={"app": "other"})))
    seen = make_seen(
        make_pod("a"), services=seen.services, endpoints=(*seen.endpoints, make_endpoint(other, service="other"))
    )

    assert [each.pod_uid for each in check_targets(LIVE_CHECK, seen=seen)] == ["uid-a"]


def test_a_headless_service_is_checked_at_one_pod_with_that_pods_port() -> None:
    first, second = make_pod("a", ip="10.0.0.1"), make_pod("b", ip="10.0.0.2")
    service = make_service(cluster_ip="")
    seen = make_seen(
        first,
        second,
        services=(service,),
        endpoints=(make_endpoint(second, ports={"http": 9090}), make_endpoint(first, ports={"http": 8080})),
    )

    (found,) = check_targets(READY_CHECK, seen=seen)

    assert (found.probe.target.host, found.probe.target.port) == ("10.0.0.1", 8080)
    assert check_targets(READY_CHECK, seen=make_seen(services=(service,))) == []


def test_quiet_is_asked_at_the_container_port() -> None:
    spec = make_spec(drain={"quiet": {"http": {"path": "/c", "port": "http", "json": "a.b"}}})

    found = targets.connections_target(spec, make_pod())

    assert found is not None and (found.target.port, found.field) == (8080, "a.b")
    assert targets.connections_target(spec, make_pod(ip="")) is None
    assert targets.connections_target(make_spec(), make_pod()) is None
    assert resolve(spec).grace_period == timedelta(seconds=10)
