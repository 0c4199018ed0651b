"""The arithmetic of the benchmarks, whose figures decide what is changed next."""

import asyncio
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks import argo, process_figures
from benchmarks.burst import Burst, Figures, quantile
from benchmarks.counting import AuditLog, Requests, most, only_writes, reads_of_server, requests_of_argo
from benchmarks.fleet import placed, spread
from benchmarks.kinds import Argos, Ours
from benchmarks.watching import Diary

MIB = 2**20
SERVER = """\
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",group="",resource="services",scope="namespace",subresource="",verb="LIST"} 30
apiserver_request_total{code="404",group="",resource="services",scope="resource",subresource="",verb="GET"} 2
apiserver_request_total{code="200",group="",resource="services",scope="resource",subresource="",verb="GET"} 5
apiserver_request_total{code="200",group="",resource="services",scope="namespace",subresource="",verb="WATCH"} 900
apiserver_request_total{code="200",group="apps",resource="deployments",scope="resource",subresource="",verb="PATCH"} 7
apiserver_request_total{code="200",group="",resource="pods",scope="resource",subresource="proxy",verb="GET"} 11
apiserver_request_total{code="200",group="coordination.k8s.io",resource="leases",scope="resource",verb="GET"} 60
apiserver_request_total_of_others{resource="services",verb="LIST"} 4
"""
ARGO = """\
controller_clientset_k8s_request_total{kind="replicasets",name="N/A",namespace="a",status_code="201",verb="Create"} 3
controller_clientset_k8s_request_total{kind="rollouts",name="x",namespace="a",status_code="200",verb="Patch"} 9
controller_clientset_k8s_request_total{kind="rollouts",name="y",namespace="a",status_code="409",verb="Patch"} 1
controller_clientset_k8s_request_total{kind="events",name="N/A",namespace="a",status_code="201",verb="Create"} 50
controller_clientset_k8s_request_total{kind="rollouts",name="N/A",namespace="",status_code="200",verb="Watch"} 5
rollout_reconcile_bucket{name="x",namespace="a",le="0.01"} 100
rollout_reconcile_count{name="x",namespace="a"} 12
rollout_reconcile_count{name="y",namespace="a"} 1.3e+01
rollout_reconcile_sum{name="y",namespace="a"} 99
"""


def burst(*, first: tuple[float, ...] = (), cpu: float = 2.0, requests: int = 80, seconds: float = 10) -> Burst:
    """Ten releases that cost so much, by a controller that has worked before."""
    before = Figures(cpu=5.0, rss=100 * MIB, passes=7, requests=Requests({("list", "pods"): 4}))
    made = Requests({("list", "pods"): 4 + requests, ("patch", "services"): 20})
    return Burst(10, seconds, before, Figures(5.0 + cpu, 120 * MIB, 127, made), first)


def test_of_the_server_reads_are_counted_by_resource() -> None:
    assert reads_of_server(SERVER) == {("list", "services"): 30, ("get", "services"): 7}


def test_of_argo_every_request_is_counted_but_watches_and_events() -> None:
    assert requests_of_argo(ARGO) == {("create", "replicasets"): 3, ("patch", "rollouts"): 10}
    assert argo.passes(ARGO) == 25


def line(user: str, verb: str, resource: str) -> str:
    return json.dumps({"user": {"username": user}, "verb": verb, "objectRef": {"resource": resource}}) + "\n"


def test_of_the_audit_log_writes_of_one_user_since_the_beginning_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_text(line("operator", "patch", "pods") * 5)
    log = AuditLog(file, "operator")
    added = (
        line("operator", "create", "deployments"),
        line("other", "patch", "pods"),
        line("operator", "create", "events"),
    )
    half = line("operator", "patch", "services")
    with file.open("a") as written:
        written.write("".join(added) + half[:20])
    assert log.writes() == {("create", "deployments"): 1}
    # when
    with file.open("a") as written:
        written.write(half[20:])
    # then
    assert log.writes() == {("create", "deployments"): 1, ("patch", "services"): 1}
    assert log.writes() == log.writes()


def test_writes_are_all_but_reads() -> None:
    requests = Requests({("get", "pods"): 1, ("list", "pods"): 2, ("patch", "pods"): 3, ("delete", "pods"): 4})
    assert only_writes(requests) == {("patch", "pods"): 3, ("delete", "pods"): 4}


def test_the_most_frequent_requests_of_a_release_come_first() -> None:
    requests = Requests({("get", "pods"): 5, ("list", "pods"): 20, ("patch", "pods"): 5})
    assert list(most(requests, 10)) == [("list pods", 2.0), ("get pods", 0.5), ("patch pods", 0.5)]


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [([3], 0.5, 3), ([1, 2, 3, 4], 0.5, 2), ([4, 3, 2, 1], 0.95, 4), (list(range(1, 101)), 0.95, 95), ([1, 9], 0, 1)],
)
def test_a_quantile_is_a_value_that_was_seen(values: list[float], share: float, wanted: float) -> None:
    assert quantile(values, share) == wanted


def test_a_burst_says_what_one_release_costs() -> None:
    rows = dict(burst(first=(0.4, 0.2, 0.3), cpu=2.0, requests=80).rows())
    assert rows == {
        "all at rest after": "10.0 s",
        "change to first object, p50, p95": "0.30 s, 0.40 s",
        "CPU of one release": "0.200 s",
        "passes of one release": "12.0",
        "API requests of one release": "10.0, of them writes 2.0",
        "  list pods": "8.0",
        "  patch services": "2.0",
        "RSS before, after": "100 MiB, 120 MiB",
    }


def test_a_ratio_below_one_is_in_our_favour() -> None:
    ours, peer = burst(first=(0.2,), cpu=1.0, seconds=5), burst(first=(0.4,), cpu=4.0, requests=180)
    ratios = {name: ratio for name, _, _, ratio in ours.compared(peer)}
    assert ratios == {
        "all at rest after, s": 0.5,
        "CPU of one release, s": 0.25,
        "API requests of one release": 0.5,
        "RSS before, MiB": 1,
        "RSS after, MiB": 1,
        "change to first object, p50, s": 0.5,
        "change to first object, p95, s": 0.5,
    }


def test_a_ratio_to_nothing_is_no_number() -> None:
    found = {name: ratio for name, _, _, ratio in burst().compared(burst(cpu=0))}
    assert math.isnan(found["CPU of one release, s"])


@pytest.mark.parametrize(("per_namespace", "namespaces"), [(1, 250), (100, 3), (250, 1)])
def test_services_share_namespaces_as_asked(per_namespace: int, namespaces: int) -> None:
    services = placed(250, per_namespace)
    assert len(set(services)) == len({name for _, name in services}) == 250
    assert len({namespace for namespace, _ in services}) == namespaces


@pytest.mark.parametrize(("services", "releases"), [(300, 30), (7, 3), (5, 5)])
def test_releases_are_of_different_services_everywhere_in_the_fleet(services: int, releases: int) -> None:
    fleet = placed(services, 1)
    chosen = [fleet.index(each) for each in spread(fleet, releases)]
    assert len(set(chosen)) == releases
    assert max(b - a for a, b in pairwise(chosen)) <= math.ceil(services / releases)


def test_cpu_of_a_process_is_read_behind_its_name() -> None:
    ticks = process_figures.TICKS
    stat = f"7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 {3 * ticks} {2 * ticks} 0 0 20 0 9"
    assert process_figures.cpu_seconds(stat) == 5


def test_the_module_says_which_version_is_compared() -> None:
    assert argo.version().startswith("v1.")


def test_both_controllers_look_after_the_same_pods() -> None:
    ours = dict(Ours(replicas=2, strategy="BlueGreen", checks=False).made("a", "x"))
    theirs = dict(Argos(replicas=2, strategy="BlueGreen").made("a", "x"))
    deployment = ours["/apis/apps/v1/namespaces/a/deployments"]["spec"]
    rollout = theirs["/apis/argoproj.io/v1alpha1/namespaces/a/rollouts"]["spec"]
    assert {key: value for key, value in rollout.items() if key != "strategy"} == deployment
    services = "/api/v1/namespaces/a/services"
    assert ours[services] == theirs[services]
    assert "health" not in ours["/apis/resilience.dev/v1alpha1/namespaces/a/resilientservices"]["spec"]


def rollout(*, generation: int = 3, desired: int = 2, **status: Any) -> dict[str, Any]:
    at_rest = {
        "phase": "Healthy",
        "observedGeneration": "3",
        "currentPodHash": "new",
        "stableRS": "new",
        "replicas": 2,
    }
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": desired},
        "status": at_rest | status,
    }


@pytest.mark.parametrize(
    ("raw", "ended"),
    [
        (rollout(), "new"),
        (rollout(generation=4), ""),
        (rollout(stableRS="old"), ""),
        (rollout(phase="Paused"), ""),
        (rollout(desired=1), ""),
        (rollout() | {"status": {}}, ""),
    ],
)
def test_a_release_of_argo_is_over_when_all_is_at_rest(raw: Mapping[str, Any], ended: str) -> None:
    assert Argos(replicas=2, strategy="BlueGreen").ended(dict(raw)) == ended


def event(name: str, *, kind: str = "ADDED") -> dict[str, Any]:
    return {"type": kind, "object": {"spec": {"template": {"metadata": {"labels": {"app": name}}}}}}


async def test_the_first_object_is_the_first_that_is_new_after_the_change() -> None:
    diary = Diary(changed={"a": 10.0, "b": 10.0})
    diary.note_made(event("a", kind="MODIFIED"))
    assert diary.first() == ()
    diary.note_made(event("a"))
    first = diary.first()
    # when
    diary.note_made(event("a"))
    diary.note_made(event("another"))
    # then
    assert diary.first() == first
    assert len(first) == 1


async def test_it_waits_until_each_release_is_over() -> None:
    diary = Diary(changed={"a": 0.0, "b": 0.0})
    waiting = asyncio.create_task(diary.all_ended(seconds=30))
    for name in ("a", "a", "another"):
        diary.note_ended(name)
        await asyncio.sleep(0)
    assert not waiting.done()
    # when
    diary.note_ended("b")
    # then
    await waiting


async def test_it_says_how_many_releases_were_not_over() -> None:
    diary = Diary(changed={"a": 0.0, "b": 0.0}, ended={"a": 1.0})
    with pytest.raises(TimeoutError, match="1 of 2 releases are not over"):
        await diary.all_ended(seconds=0)


def test_a_quiet_pass_reads_its_resource_and_its_target_and_writes_nothing() -> None:
    # What is left of others is not asked for here, so nothing has to fall due.
    command = [sys.executable, "-m", "benchmarks.quiet", "--services", "3", "--churn", "1", "--patience", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    figures = {name.strip(): value.strip() for _, name, value, _ in re.findall(r"(│)([^│]+)│([^│]+)(│)", done.stdout)}
    assert (figures["API reads of a quiet pass"], figures["API writes of a quiet pass"]) == ("2.00", "0.00")
