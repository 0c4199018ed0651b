"""Why a pod is not ready, from its raw status: one word for machines, and the words of who knows for people.

The word is the kubelet's or the scheduler's own wherever they have one. Must not judge whether it will pass.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

Json = Mapping[str, Any]
Trouble = tuple[str, str]

_NONE: Final[Trouble] = ("", "")
# A container that waits for these is only not there yet.
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
# What a container last ended by, when that says more than that it is not started again at once.
_TELLING: Final = frozenset({"OOMKilled", "StartError", "ContainerCannotRun"})
_LENGTH: Final = 600
_HEAD: Final = 200
_LAST_WORDS: Final = 240


def of(raw: Json) -> Trouble:
    """Fault and trouble of a pod that is not ready; both empty when nothing is known."""
    status = raw.get("status") or {}
    fault, words = (
        _rejected(status)
        if status.get("phase") == "Failed" and status.get("reason")
        else _unscheduled(status) or _containers(raw) or _gates(status) or _NONE
    )
    return fault, _cut(words)


def restarts(status: Json) -> int:
    """Restarts of the container that restarted most: several that ended once each are no crash loop."""
    names = ("initContainerStatuses", "containerStatuses")
    return max((int(each.get("restartCount", 0)) for name in names for each in status.get(name) or []), default=0)


def _rejected(status: Json) -> Trouble:
    """A pod that a node has given up: evicted, or refused on arrival."""
    reason = str(status["reason"])
    return reason, _words(reason, status.get("message"))


def _unscheduled(status: Json) -> Trouble | None:
    condition = _condition(status, "PodScheduled")
    if condition.get("status") != "False":
        return None
    reason = str(condition.get("reason") or "Unschedulable")
    # What follows is about victims, and longer than what is short.
    message = str(condition.get("message") or "").partition(" preemption:")[0]
    return reason, _words(reason, message)


def _containers(raw: Json) -> Trouble | None:
    """The first container that cannot run, or else the first whose probes have not passed."""
    status, spec = raw.get("status") or {}, raw.get("spec") or {}
    first, rest = status.get("initContainerStatuses") or [], status.get("containerStatuses") or []
    sidecars = {each["name"] for each in spec.get("initContainers") or [] if each.get("restartPolicy") == "Always"}
    # An init container that runs, or has ended well, is as it should be.
    passing = {each["name"] for each in first} - sidecars
    stopped = (_stopped(each, lasts=each["name"] not in passing) for each in (*first, *rest))
    running = (_running(each) for each in (*first, *rest) if each["name"] not in passing)
    return _first(stopped) or _first(running)


def _first(found: Iterable[Trouble | None]) -> Trouble | None:
    return next((each for each in found if each is not None), None)


def _stopped(container: Json, *, lasts: bool) -> Trouble | None:
    """`lasts`: whether it should run as long as the pod."""
    state = container.get("state") or {}
    if ended := state.get("terminated"):
        if not lasts and not ended.get("exitCode"):
            return None
        reason = str(ended.get("reason") or "Error")
        return reason, _words(reason, _ending(container, ended))
    waiting = state.get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    if reason in _STARTING:
        return None
    if reason == "CrashLoopBackOff":
        return _crash_loop(container)
    return reason, _words(reason, waiting.get("message"))


def _crash_loop(container: Json) -> Trouble:
    """How long the kubelet waits says nothing; how the container ended does."""
    ended = _last(container)
    reason = str(ended.get("reason") or "")
    fault = reason if reason in _TELLING else "CrashLoopBackOff"
    return fault, _words(
        fault, _ending(container, ended) if ended else f"container {container['name']} ends again and again"
    )


def _running(container: Json) -> Trouble | None:
    if "running" not in (container.get("state") or {}):
        return None
    name, ended = container["name"], _last(container)
    before = f"; before that {_ending(container, ended)}" if ended else ""
    if container.get("started") is False:
        return "StartupFails", f"container {name} runs, but its startup probe has not passed{before}"
    if container.get("started") and not container.get("ready"):
        return "ReadinessFails", f"container {name} runs, but its readiness probe fails{before}"
    return None


def _gates(status: Json) -> Trouble | None:
    condition = _condition(status, "Ready")
    reason = "ReadinessGatesNotReady"
    return (reason, _words(reason, condition.get("message"))) if condition.get("reason") == reason else None


def _condition(status: Json, name: str) -> Json:
    return next((each for each in status.get("conditions") or [] if each["type"] == name), {})


def _last(container: Json) -> Json:
    ended: Json = (container.get("lastState") or {}).get("terminated") or {}
    return ended


def _ending(container: Json, ended: Json) -> str:
    """How a container ended, with its last words when it left any."""
    reason = ended.get("reason") or ""
    why = f" ({reason})" if reason not in ("", "Error", "Completed") else ""
    said = " ".join(str(ended.get("message") or "").split())[-_LAST_WORDS:]
    return _words(f"container {container['name']} ended with exit code {ended.get('exitCode', 'unknown')}{why}", said)


def _words(what: str, message: object) -> str:
    return f"{what}: {message}" if message else what


def _cut(text: str) -> str:
    """Without the middle when it is too long: Go puts the cause of an error last."""
    return text if len(text) <= _LENGTH else f"{text[:_HEAD]} … {text[len(text) - (_LENGTH - _HEAD - 3) :]}"
