"""Reason why a pod is not ready, from its raw status: a word for machines (fault), a message for people (trouble).

The word is the kubelet's or the scheduler's own wherever they have one. Must not judge whether the fault will pass.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

Json = Mapping[str, Any]
Trouble = tuple[str, str]

_NONE: Final[Trouble] = ("", "")
# A container that waits for one of these reasons is merely starting.
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
# Reasons of a container's last end that say more than CrashLoopBackOff.
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
        else _unscheduled(status) or _containers(raw) or _gates(status, raw.get("spec") or {}) or _NONE
    )
    return fault, _cut(words)


def restarts(status: Json) -> int:
    """Restarts of the container that restarted most: several containers that ended once are no crash loop."""
    names = ("initContainerStatuses", "containerStatuses")
    return max((int(entry.get("restartCount", 0)) for name in names for entry in status.get(name) or []), default=0)


def _rejected(status: Json) -> Trouble:
    """Trouble of a pod that its node evicted, or refused on arrival."""
    reason = str(status["reason"])
    return reason, _words(reason, status.get("message"))


def _unscheduled(status: Json) -> Trouble | None:
    condition = _condition(status, "PodScheduled")
    if condition.get("status") != "False":
        return None
    reason = str(condition.get("reason") or "Unschedulable")
    # The rest is about victims of preemption, and longer than the list of missing resources.
    message = str(condition.get("message") or "").partition(" preemption:")[0]
    return reason, _words(reason, message)


def _containers(raw: Json) -> Trouble | None:
    """Trouble of the first container that cannot run, or else of the first whose probes have not passed, or None."""
    status, spec = raw.get("status") or {}, raw.get("spec") or {}
    first, rest = status.get("initContainerStatuses") or [], status.get("containerStatuses") or []
    sidecars = {init["name"] for init in spec.get("initContainers") or [] if init.get("restartPolicy") == "Always"}
    # An init container that is running, or has ended with success, is no trouble.
    passing = {container["name"] for container in first} - sidecars
    stopped = (_stopped(container, lasts=container["name"] not in passing) for container in (*first, *rest))
    running = (_running(container) for container in (*first, *rest) if container["name"] not in passing)
    return _first(stopped) or _first(running)


def _first(troubles: Iterable[Trouble | None]) -> Trouble | None:
    return next((trouble for trouble in troubles if trouble is not None), None)


def _stopped(container: Json, *, lasts: bool) -> Trouble | None:
    """Trouble of a container that does not run, or None. `lasts`: it should run as long as the pod."""
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
    """Trouble of a container in a crash loop: the way it ended, because the kubelet's back-off explains nothing."""
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


def _gates(status: Json, spec: Json) -> Trouble | None:
    """Trouble of a pod with an open readiness gate: the kubelet's words, then those of who answers the gate."""
    condition = _condition(status, "Ready")
    reason = "ReadinessGatesNotReady"
    if condition.get("reason") != reason:
        return None
    answers = (_condition(status, gate["conditionType"]) for gate in spec.get("readinessGates") or [])
    said = [
        _words(str(answer.get("reason") or answer["type"]), answer["message"])
        for answer in answers
        if answer.get("status") != "True" and answer.get("message")
    ]
    return reason, "; ".join([_words(reason, condition.get("message")), *said])


def _condition(status: Json, name: str) -> Json:
    return next((condition for condition in status.get("conditions") or [] if condition["type"] == name), {})


def _last(container: Json) -> Json:
    ended: Json = (container.get("lastState") or {}).get("terminated") or {}
    return ended


def _ending(container: Json, ended: Json) -> str:
    """Exit code and reason of a container's end, with the end of its termination message if it left one."""
    reason = ended.get("reason") or ""
    why = f" ({reason})" if reason not in ("", "Error", "Completed") else ""
    last = " ".join(str(ended.get("message") or "").split())[-_LAST_WORDS:]
    return _words(f"container {container['name']} ended with exit code {ended.get('exitCode', 'unknown')}{why}", last)


def _words(reason: str, message: object) -> str:
    return f"{reason}: {message}" if message else reason


def _cut(text: str) -> str:
    """The text, without its middle when it is too long: Go puts the cause of an error last."""
    return text if len(text) <= _LENGTH else f"{text[:_HEAD]} … {text[len(text) - (_LENGTH - _HEAD - 3) :]}"
