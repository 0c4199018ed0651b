"""What people see: objectives, burning budgets and dashboards by a real Prometheus, traces, and the log."""

import base64
import json
import time
from collections.abc import Iterator
from math import isnan

import pytest
import yaml

from monitoring import slo_rules
from monitoring.__main__ import PAGES
from monitoring.expressions import asked, filled
from tests.cluster import engine
from tests.support import alertmanager, prometheus
from tests.support.counts import Figures
from tests.support.host import needs
from tests.support.kube import Object, wait_until
from tests.support.recorder import Recorder, recording
from tests.support.release import Release
from tests.support.rollouts import release, template
from tests.support.shop_manifests import LIVE_CHECK, READY_CHECK, deployment, resilient, service, shop
from tests.support.space import Space, stays
from tests.support.spending import pause

pytestmark = needs(prometheus.PROGRAM)
HANG = "open('/tmp/bad', 'w')"
MEND = "import os; os.unlink('/tmp/bad')"
# An hour is a minute: the rules are the same, and the test is over today.
SHORTENED = 60.0
AT_ALERTMANAGER = "/alertmanager"


@pytest.fixture(scope="module")
def hooks() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def scraped(release: Release, hooks: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with the rules of the chart, in front of an Alertmanager that tells a webhook."""
    folder = tmp_path_factory.mktemp("monitoring")
    rules = folder / "objectives.yaml"
    groups = [each.to_prometheus() for each in slo_rules.groups(shortened=SHORTENED)]
    rules.write_text(yaml.safe_dump({"groups": groups}))
    told = f"http://127.0.0.1:{hooks.port}{AT_ALERTMANAGER}"
    (folder / "am").mkdir()
    with alertmanager.running(folder / "am", webhook=told) as manager:
        (folder / "prometheus").mkdir()
        scraping = prometheus.of_pods(
            folder / "prometheus", release.pods, rules=[rules], alertmanager=manager, listen="0.0.0.0"
        )
        with scraping as url:
            yield url


def reasons(space: Space, trace: str) -> set[str]:
    """Of the Events that carry this trace."""
    annotations = [(each["reason"], each["metadata"].get("annotations") or {}) for each in space.list("events")]
    return {reason for reason, found in annotations if found.get("resilience.dev/trace") == trace}


def test_a_trace_leads_from_status_to_events_and_the_log(operator: Release, space: Space) -> None:
    space.start(*shop())
    space.restart()
    trace = space.status()["lastRestart"]["traceId"]
    # then: Events follow status
    wanted = {"RestartStarted", "RestartSucceeded"}
    wait_until(lambda: wanted <= reasons(space, trace), what=f"Events with trace {trace}")
    history = [each for each in space.status()["history"] if each.get("traceId") == trace]
    assert [each["kind"] for each in history] == ["Restart"]
    lines = [json.loads(line) for line in operator.logs().splitlines() if line.startswith("{")]
    mine = [line for line in lines if line.get("trace") == trace]
    assert {"decided", "acted"} <= {line["event"] for line in mine}
    assert {line.get("mark") for line in mine} == {"business"}


@pytest.mark.exclusive
def test_the_level_of_the_log_changes_without_a_restart(operator: Release, space: Space) -> None:
    before = operator.restarts()
    operator.install(log={"level": "debug"})
    try:
        wait_until(lambda: '"log_level": "DEBUG"' in operator.logs(), what="that it is taken over", timeout=150)
        assert operator.restarts() == before, "the same pods"
    finally:
        operator.install()


def value(url: str, query: str) -> float | None:
    found = prometheus.ask(url, query)
    return float(found[0]["value"][1]) if found else None


def burns(hooks: Recorder, namespace: str) -> list[Object]:
    """What the Alertmanager told of burning budgets."""
    return [
        alert
        for post in hooks.to(AT_ALERTMANAGER)
        for alert in post.body["alerts"]
        if alert["labels"]["alertname"] == "ErrorBudgetBurns" and alert["labels"]["namespace"] == namespace
    ]


@pytest.mark.long
def test_an_outage_burns_the_budget_and_people_are_told(
    operator: Release, space: Space, figures: Figures, scraped: str, hooks: Recorder
) -> None:
    # given a shop with an objective, that is well
    health = {"interval": "1s", "timeout": "900ms", "checks": [READY_CHECK, LIVE_CHECK]}
    objective = {"availability": "99.9%", "recoveryTime": "20s"}
    space.start(*shop(env={"HANG_FILE": "/tmp/bad"}, health=health, slo=objective))
    (pod,) = space.shop_pods()
    mine = f'{{namespace="{space.namespace}", name="shop"}}'
    wait_until(
        lambda: value(scraped, f"resilience_service_available{mine}") == 1, what="the shop in Prometheus", timeout=30
    )
    assert value(scraped, f"resilience_service_slo_objective_ratio{mine}") == 0.999
    stays(lambda: burns(hooks, space.namespace) == [], seconds=15, what="control: a shop that is well burns nothing")
    assert space.status()["slo"]["summary"] == "100.00%, 100% of budget left"
    # when it is out
    began = time.monotonic()
    space.inside(pod["metadata"]["name"], HANG)
    wait_until(lambda: value(scraped, f"resilience_service_available{mine}") == 0, what="the outage", timeout=30)
    seen = time.monotonic() - began
    wait_until(lambda: burns(hooks, space.namespace) != [], what="what Alertmanager tells", timeout=60)
    told = time.monotonic() - began
    # The operator's own windows are not shortened: of an hour, 14.4 times 0.1 % are 52 s.
    wait_until(
        lambda: {"ErrorBudgetBurns critical", "RecoverySlow critical"} <= set(_firing(space)),
        what="that the operator says the same by itself",
        timeout=120,
    )
    # and is back
    space.inside(pod["metadata"]["name"], MEND)
    wait_until(lambda: value(scraped, f"resilience_service_available{mine}") == 1, what="the end", timeout=60)
    # then people were told with what they need, and the outage is on record
    (first, *_) = burns(hooks, space.namespace)
    assert first["labels"]["service"] == "shop"
    assert first["annotations"]["runbook"] == "docs/runbooks/ErrorBudgetBurns.md"
    (outage,) = wait_until(lambda: _ended(space), what="the outage in status", timeout=30)
    assert outage["reason"].startswith(("ready: ", "live: ", "no pod"))
    lasted = value(scraped, f"resilience_service_slo_recovery_seconds{mine}")
    assert lasted is not None and 50 < lasted < 200
    left = value(scraped, f"resilience_service_slo_error_budget_remaining_ratio{mine}")
    assert left is not None and 0.9 < left < 1
    wait_until(
        lambda: all(each["status"] == "resolved" for each in burns(hooks, space.namespace)[-1:]),
        what="an all-clear",
        timeout=120,
    )
    figures.write(
        outage_seen_after=round(seen, 1), told_by_alertmanager_after=round(told, 1), outage_lasted=round(lasted, 1)
    )


@pytest.mark.exclusive
def test_what_clients_saw_counts_where_a_query_tells_it(operator: Release, space: Space, scraped: str) -> None:
    reached = scraped.replace("127.0.0.1", engine.current().host())
    operator.install(prometheus={"url": reached})
    try:
        space.start(*shop())
        mine = f'{{namespace="{space.namespace}", name="shop"}}'
        wait_until(
            lambda: value(scraped, f"resilience_service_available{mine}") == 1,
            what="the shop in Prometheus",
            timeout=30,
        )
        # The operator's own page has a series of every service, and this one may count those of its namespace only.
        query = "count(resilience_service_available) * 0.9995"
        space.apply(resilient(slo={"availability": "99.9%", "query": query}))
        found = wait_until(lambda: (space.status().get("slo") or {}).get("measured"), what="an answer", timeout=90)
        assert found == "99.9500%"
        assert space.status()["slo"]["summary"] == "99.95%, 50% of budget left"
    finally:
        operator.install()


def _firing(space: Space) -> list[str]:
    return [f"{each['name']} {each['severity']}" for each in space.status()["alerts"]["firing"]]


def _ended(space: Space) -> list[Object] | None:
    found: list[Object] = space.status()["slo"].get("outages") or []
    return found if found and all("ended" in each for each in found) else None


def test_every_panel_has_data(operator: Release, space: Space, figures: Figures, scraped: str, hooks: Recorder) -> None:
    """After one of everything: a restart, a release, a lost dependency, and somebody who is told."""
    base = f"http://{engine.current().host()}:{hooks.port}"
    partner = {"name": "partner", "scope": "Dependency", "http": {"url": f"{base}/partner"}}
    health = {"interval": "1s", "timeout": "900ms", "checks": [READY_CHECK, LIVE_CHECK, partner]}
    flag = {"name": "partner-lost", "check": "partner", "mode": "memory", "minDegraded": "1s", "successThreshold": 2}
    space.apply(*_told_at(f"{base}/hook"))
    space.start(
        deployment(replicas=2),
        service(),
        resilient(
            health=health,
            degradation={"flags": [flag]},
            slo={"availability": "99.9%", "recoveryTime": "5m"},
            alerts={"defaultReceiver": "team", "groupWait": "1s"},
            rollout={"strategy": "BlueGreen", "blueGreen": {"warmPeriod": "1s"}},
        ),
    )
    space.restart(timeout=120)
    release(space, template("2.0.0", replicas=2), timeout=120)
    hooks.statuses["/partner"] = 503
    wait_until(lambda: "DependencyLost" in told(hooks), what="somebody who is told", timeout=60)
    hooks.statuses.clear()
    wait_until(lambda: hooks.kinds("/hook")[-1:] == ["ended"], what="the end", timeout=60)
    pause(5)
    empty, count = [], 0
    for name, page in PAGES.items():
        for each in asked(filled(page(), namespace=space.namespace, service="shop", rate="10m", span="10m")):
            count += 1
            found = prometheus.ask(scraped, each.expression)
            if not found or all(isnan(float(sample["value"][1])) for sample in found):
                empty.append(f"{name}: {each.panel}: {each.expression}")
    assert empty == []
    # What stands for nothing is data, too: these must not.
    for what in ("restarts", "rollouts"):
        ended = f'resilience_service_{what}_total{{namespace="{space.namespace}", result="Succeeded"}}'
        assert (value(scraped, f"sum({ended})") or 0) > 0, ended
    figures.write(expressions=count, without_data=len(empty))


def told(hooks: Recorder) -> set[str]:
    """Names of the alerts that the webhook heard of."""
    return {alert["labels"]["alertname"] for post in hooks.to("/hook") for alert in post.body["alerts"]}


def _told_at(url: str) -> list[Object]:
    encoded = base64.b64encode(url.encode()).decode()
    meta = {"name": "alerts", "labels": {"resilience.dev/readable": "true"}}
    ref = {"secretKeyRef": {"name": "alerts", "key": "url"}}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"url": encoded}},
        {
            "apiVersion": "resilience.dev/v1alpha1",
            "kind": "AlertReceiver",
            "metadata": {"name": "team"},
            "spec": {"webhook": {"urlFrom": ref}},
        },
    ]
