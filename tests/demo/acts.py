"""The acts of the demo, each one promise of the operator, with what was seen of it."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from rich.table import Table

from tests.demo import look
from tests.demo.stage import HOOK, NAMESPACE, Stage
from tests.support.load import BackgroundLoad, Load
from tests.support.load_report import Result

_STORY: Final = {
    "RestartStarted",
    "RestartSucceeded",
    "ReleaseStarted",
    "ReleaseSucceeded",
    "ReleaseFailed",
    "DependencyLost",
}
_KEPT: Final = 20
_NEW: Final = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an act promised and what was seen."""

    act: str
    promised: str
    seen: str
    kept: bool


def without_operator(stage: Stage) -> Verdict:
    """The control: what a plain restart costs this application."""
    with BackgroundLoad(load=_load(stage)) as load:
        sleep(2)
        with stage.progress.step("kubectl rollout restart, nobody looks after the shop yet"):
            stage.kubectl("rollout", "restart", "-n", NAMESPACE, "deploy/shop")
            stage.kubectl("rollout", "status", "-n", NAMESPACE, "deploy/shop", "--timeout=120s")
            sleep(2)
        result = load.stop()
    seen = f"{result.failed} of {result.sent} requests failed"
    stage.console.print(f"  [yellow]{seen}[/]: the application exits at once on SIGTERM")
    return Verdict("control: kubectl rollout restart", "loses requests", seen, result.failed > 0)


def adoption(stage: Stage) -> Verdict:
    """The operator looks after the shop and writes its probes when it is asked to."""
    stage.adopt()
    stage.call()
    stage.wait("the operator looks after the shop", lambda: _state(stage) == "Healthy")
    _annotate(stage, "adopt-requested-at", "demo")
    stage.wait("probes and preStop are in the template", lambda: _condition(stage, "ProbesSynced") == "True")
    stage.wait("the pods have them", lambda: _condition(stage, "Ready") == "True")
    stage.show("get", "rsvc", "-n", NAMESPACE, "-o", "wide")
    container = stage.get("deploy", "shop", "-n", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]
    managed = [name for name in ("readinessProbe", "startupProbe", "lifecycle") if name in container]
    return Verdict("adoption", "probes managed, health known", ", ".join(managed), len(managed) == 3)


def restart(stage: Stage) -> Verdict:
    """The same application under the same load, restarted by the operator."""
    before = _pods(stage)
    with BackgroundLoad(load=_load(stage)) as load:
        sleep(2)
        _annotate(stage, "restart-requested-at", "demo")
        stage.watch("A restart, asked for by annotation", lambda: _restarted(stage), load)
        sleep(2)
        result = load.stop()
    stage.show("get", "rsvc", "-n", NAMESPACE)
    last = stage.resource()["status"]["lastRestart"]
    measured = last.get("requests", {})
    stage.console.print(
        f"  status.lastRestart: {last['result']}, {last['pods']} pods in {last['duration']}, "
        f"{measured.get('failed')} of {measured.get('sent')} measured requests failed, p99 {measured.get('p99')}"
    )
    replaced = len(before - _pods(stage))
    seen = f"{_counted(stage, result)}, {replaced} pods replaced"
    return Verdict("restart under load", "0 requests fail", seen, result.failed == 0 and replaced == len(before))


def release(stage: Stage) -> Verdict:
    """Another version under the same load: a second colour, a switch, and back home."""
    with BackgroundLoad(load=_load(stage)) as load:
        sleep(2)
        before = _last_release(stage)
        stage.kubectl("set", "env", "-n", NAMESPACE, "deploy/shop", "VERSION=2.0.0")
        stage.watch("A blue-green release: kubectl set env VERSION=2.0.0", lambda: _released(stage, before), load)
        sleep(1)
        result = load.stop()
    last = stage.resource()["status"]["lastRollout"]
    steps = ", ".join(f"{each['name']} {each['duration']}" for each in last.get("steps", []))
    stage.console.print(f"  status.lastRollout: {last['result']} in {last['duration']}: {steps}", soft_wrap=True)
    seen = f"{_counted(stage, result)}, {last['result']}"
    kept = result.failed == 0 and last["result"] == "Succeeded" and "2.0.0" in result.versions
    return Verdict("blue-green release", "0 requests fail", seen, kept)


def bad_release(stage: Stage) -> Verdict:
    """A version that is healthy until it has served a little: it is taken back."""
    with BackgroundLoad(load=_load(stage)) as load:
        sleep(1)
        before = _last_release(stage)
        stage.kubectl("set", "env", "-n", NAMESPACE, "deploy/shop", "VERSION=3.0.0-bad", "FAIL_HEALTH_AFTER=20")
        stage.watch("A bad release: 3.0.0 falls ill once it serves", lambda: _released(stage, before), load)
        sleep(1)
        result = load.stop()
    status = stage.resource()["status"]
    failure = status["rollout"]["failure"]
    stage.console.print(f"  {failure['class']}: {failure['message']}\n  {failure['advice']}", soft_wrap=True)
    back = result.new.versions["3.0.0-bad"].last - result.new.versions["3.0.0-bad"].first
    seen = f"{_counted(stage, result)}, back after {back:.1f} s of traffic"
    kept = result.failed == 0 and status["lastRollout"]["result"] == "RolledBack"
    stage.kubectl("set", "env", "-n", NAMESPACE, "deploy/shop", "VERSION=2.0.0", "FAIL_HEALTH_AFTER-")
    return Verdict("bad release", "taken back by itself", seen, kept)


def redis_lost(stage: Stage) -> Verdict:
    """Redis goes away under load: the service is degraded, serves from memory, and no pod is blamed."""
    before = _pods(stage)
    with BackgroundLoad(load=_load(stage)) as load:
        sleep(1)
        began = monotonic()
        stage.kubectl("scale", "-n", NAMESPACE, "deploy/redis", "--replicas=0")
        stage.wait("Redis is gone, and the operator sees it", lambda: _condition(stage, "Degraded") == "True")
        seconds = monotonic() - began
        stage.show("get", "rsvc", "-n", NAMESPACE, "-o", "wide")
        stage.wait("every pod of the shop knows, and works from memory", lambda: _flag_in_pods(stage) == {True})
        stage.show("get", "configmap", "shop-flags", "-n", NAMESPACE, "-o", "jsonpath={.data.redis-degraded\\.mode}")
        stage.wait("whoever is on call is told", lambda: _told(stage, "DependencyLost") != [])
        stage.kubectl("scale", "-n", NAMESPACE, "deploy/redis", "--replicas=1")
        stage.wait("Redis is back, takes writes, and has proved it", lambda: _condition(stage, "Degraded") == "False")
        sleep(1)
        result = load.stop()
    same = before == _pods(stage)
    blamed = "no pod" if same else "a pod"
    seen = f"seen after {seconds:.0f} s; {_counted(stage, result)}, {blamed} restarted"
    return Verdict("Redis is lost", "degraded, 0 requests fail", seen, result.failed == 0 and same)


def on_call(stage: Stage) -> Verdict:
    """What the person on call got: each incident once, and its end."""
    incidents = ("ReleaseFailed", "DependencyLost")
    stage.wait("both incidents are over", lambda: all(_told(stage, each)[-1:] == ["ended"] for each in incidents))
    stage.show("get", "alertreceivers", "-n", NAMESPACE)
    posts = stage.oncall.to(HOOK)
    table = Table("after", "message", "alert", "severity", "what", title="On call", title_justify="left")
    for each in posts:
        for alert in each.body["alerts"]:
            labels, words = alert["labels"], alert["annotations"]
            what = words.get("description") or f"{words['summary']}: {alert['status']}"
            kind = each.headers["x-resilience-kind"]
            table.add_row(f"{each.at - posts[0].at:.0f} s", kind, labels["alertname"], labels["severity"], what)
    stage.console.print(table)
    told = {each: _told(stage, each) for each in incidents}
    seen = "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in told.items())
    once = all(kinds.count("opened") == kinds.count("ended") == 1 for kinds in told.values())
    return Verdict("on call", "told once, and that it is over", seen, once)


def _told(stage: Stage, alert: str) -> list[str]:
    """The messages in which this alert was told of, in one word each."""
    return [
        each.headers["x-resilience-kind"]
        for each in stage.oncall.to(HOOK)
        if any(found["labels"]["alertname"] == alert for found in each.body["alerts"])
    ]


def _flag_in_pods(stage: Stage) -> set[bool]:
    """What the pods of the shop said last of their flag; a pod that said nothing has it off."""
    found = set()
    for pod in stage.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=shop")["items"]:
        lines = stage.kubectl("logs", "-n", NAMESPACE, pod["metadata"]["name"]).splitlines()
        said = [line for line in lines if '"flag"' in line]
        found.add(bool(said) and '"on": true' in said[-1])
    return found


def events(stage: Stage) -> Verdict:
    """What a person on call reads afterwards."""
    stage.show("get", "events", "-n", NAMESPACE, "--field-selector", "involvedObject.kind=ResilientService")
    found = stage.get("events", "-n", NAMESPACE)["items"]
    reasons = {event["reason"] for event in found if event["involvedObject"]["kind"] == "ResilientService"}
    told = reasons >= _STORY
    return Verdict("it explains itself", "Events tell the story", f"{len(reasons)} kinds of Events", told)


def dashboards(stage: Stage, prometheus: str) -> Verdict:
    """What Grafana would show of all this."""
    empty, count = look.without_data(prometheus)
    for each in empty:
        stage.console.print(f"  [yellow]no data[/]: {each.dashboard}, {each.panel}: {each.expression}", soft_wrap=True)
    seen = f"{count - len(empty)} of {count} expressions find something"
    return Verdict("dashboards", "every panel has data", seen, not empty)


ALL: Final[tuple[Callable[[Stage], Verdict], ...]] = (
    without_operator,
    adoption,
    restart,
    release,
    bad_release,
    redis_lost,
    on_call,
    events,
)


def _counted(stage: Stage, result: Result) -> str:
    """How many requests failed, and what the first of them saw."""
    for each in result.failures[:3]:
        stage.console.print(f"  [red]{each.at:.1f} s, {each.side}: {each.kind}[/] {each.error}", soft_wrap=True)
    return f"{result.failed} of {result.sent} requests failed"


def _load(stage: Stage) -> Load:
    return Load(url=stage.url(), kept=_KEPT, new=_NEW, rate_per_worker=10)


def _annotate(stage: Stage, request: str, value: str) -> None:
    stage.kubectl("annotate", "rsvc", "shop", "-n", NAMESPACE, "--overwrite", f"resilience.dev/{request}={value}")


def _state(stage: Stage) -> str:
    return str(stage.resource().get("status", {}).get("health", {}).get("state", ""))


def _condition(stage: Stage, kind: str) -> str:
    found = stage.resource().get("status", {}).get("conditions", [])
    return next((str(each["status"]) for each in found if each["type"] == kind), "")


def _restarted(stage: Stage) -> bool:
    status = stage.resource().get("status", {})
    return "restart" not in status and status.get("lastRestart", {}).get("request") == "demo"


def _last_release(stage: Stage) -> str:
    return str(stage.resource().get("status", {}).get("lastRollout", {}).get("traceId", ""))


def _released(stage: Stage, before: str) -> bool:
    status = stage.resource().get("status", {})
    return _last_release(stage) != before and "candidate" not in status.get("rollout", {})


def _pods(stage: Stage) -> set[str]:
    metas = [
        pod["metadata"] for pod in stage.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=shop")["items"]
    ]
    return {meta["uid"] for meta in metas if "deletionTimestamp" not in meta}
