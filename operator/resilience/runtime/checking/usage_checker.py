"""Checks that read from the Kubernetes API: usage of containers, its growth, and content of objects.

They are checks like the others, so the runner handles thresholds, intervals and transitions. Missing data is
inconclusive: a missing metrics-server or an unreadable Secret never counts against a pod.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from resilience.api.scalars import format_duration
from resilience.core.health import memory_growth, quantities
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.check_state import NOT_LABELLED
from resilience.core.model.probes import (
    ContentProbe,
    Measure,
    MeasuredProbe,
    Probe,
    SlopeProbe,
    UsageLine,
    UsageProbe,
)
from resilience.core.model.usage import ContainerUsage, PodUsage
from resilience.ports import Contents, Network, NotLabelled, PortError, Usage

# An older figure says nothing about the current usage.
_STALE: Final = timedelta(minutes=3)
_SAMPLES: Final = 120
# Shorter than the time that so many samples cover, 15 s apart.
_LONGEST_WATCH: Final = timedelta(minutes=20)
_FORGOTTEN: Final = timedelta(minutes=10)


@dataclass(slots=True)
class _Growth:
    """Measurements of one container, each stored once, and the time at which they were last requested."""

    samples: deque[memory_growth.Sample] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    requested_at: float = 0.0


@dataclass(slots=True)
class MeasuringChecker:
    """Implements ports.Checker: runs the checks that read from the API, and passes the others on to `network`."""

    network: Network
    usage: Usage
    contents: Contents
    now: Callable[[], datetime]
    _growth: dict[tuple[str, str, str], _Growth] = field(default_factory=dict)
    _tidy_at: float = 0.0

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        """Runs the check once; never raises."""
        if not isinstance(probe, UsageProbe | SlopeProbe | ContentProbe):
            return await self.network.check(probe, timeout=timeout)
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._measured(probe)
        except TimeoutError:
            message = f"the API server did not answer within {format_duration(timeout)}"
            return CheckResult(Outcome.INCONCLUSIVE, "NotReadable", message)
        except PortError as error:
            return CheckResult(Outcome.INCONCLUSIVE, "NotReadable", str(error))

    async def _measured(self, probe: MeasuredProbe) -> CheckResult:
        match probe:
            case UsageProbe():
                return await self._usage(probe)
            case SlopeProbe():
                return await self._slope(probe)
            case ContentProbe():
                return await self._content(probe)

    async def _usage(self, probe: UsageProbe) -> CheckResult:
        by_pod = await self.usage.pods(probe.namespace)
        used = self._of(by_pod, probe.pod, probe.container, born=probe.born)
        if used is None:
            return _no_figures(probe.pod)
        worst = Outcome.PASS
        comparisons = []
        for line in probe.lines:
            outcome, comparison = _against(line, _value(used, line.measure))
            comparisons.append(comparison)
            worst = max(worst, outcome, key=_BADNESS.index)
        reason = {Outcome.FAIL: "UsageCritical", Outcome.WARN: "UsageHigh"}.get(worst, "WithinLines")
        return CheckResult(worst, reason, "; ".join(comparisons), measured_at=by_pod[probe.pod].timestamp)

    async def _slope(self, probe: SlopeProbe) -> CheckResult:
        by_pod = await self.usage.pods(probe.namespace)
        used = self._of(by_pod, probe.pod, probe.container)
        if used is None:
            return _no_figures(probe.pod)
        at = by_pod[probe.pod].timestamp
        samples = self._remember(probe, at, used.memory_bytes)
        left = memory_growth.time_to(samples, probe.limit, watched=_watched(probe.within))
        now = quantities.words(used.memory_bytes, "memory")
        most = quantities.words(probe.limit, "memory")
        if left is None:
            message = f"memory {now} of {most} does not grow steadily"
            return CheckResult(Outcome.PASS, "NotGrowing", message, measured_at=at)
        soon = format_duration(timedelta(seconds=int(left.total_seconds())))
        message = f"memory {now} grows and reaches its limit of {most} in {soon}"
        if left <= probe.within:
            message += f" (within {format_duration(probe.within)})"
            return CheckResult(Outcome.FAIL, "LimitNear", message, measured_at=at)
        return CheckResult(Outcome.PASS, "LimitFar", message, measured_at=at)

    async def _content(self, probe: ContentProbe) -> CheckResult:
        try:
            content = await self.contents.fingerprint(namespace=probe.namespace, kind=probe.kind, name=probe.name)
        except NotLabelled as error:
            return CheckResult(Outcome.INCONCLUSIVE, NOT_LABELLED, str(error))
        if content is None and not probe.optional:
            return CheckResult(Outcome.INCONCLUSIVE, "NotFound", f"there is no {probe.kind} {probe.name}")
        # Hashes of another epoch cannot be compared: it is part of each. That nothing is there is content, too.
        fingerprint = f"{await self.contents.epoch()}-{content[:16] if content is not None else 'absent'}"
        return CheckResult(Outcome.PASS, "Read", "content read", fingerprint=fingerprint)

    def _of(
        self, by_pod: Mapping[str, PodUsage], pod: str, container: str, *, born: datetime | None = None
    ) -> ContainerUsage | None:
        figures = by_pod.get(pod)
        if figures is None or self.now() - figures.timestamp > _STALE:
            return None
        if born is not None and figures.timestamp < born:
            # The figures are those of an earlier pod of a StatefulSet with the same name.
            return None
        return figures.containers.get(container)

    def _remember(self, probe: SlopeProbe, at: datetime, memory: int) -> deque[memory_growth.Sample]:
        now = self.now().timestamp()
        if now >= self._tidy_at:
            self._tidy_at = now + _FORGOTTEN.total_seconds()
            kept = self._growth.items()
            self._growth = {
                key: growth for key, growth in kept if now - growth.requested_at <= _FORGOTTEN.total_seconds()
            }
        growth = self._growth.setdefault((probe.namespace, probe.pod_uid, probe.container), _Growth())
        growth.requested_at = now
        if growth.samples and memory < growth.samples[-1][1] / 2:
            # The container restarted.
            growth.samples.clear()
        if not growth.samples or growth.samples[-1][0] < at.timestamp():
            growth.samples.append((at.timestamp(), float(memory)))
        return growth.samples


def _watched(within: timedelta) -> timedelta:
    """Time for which growth is watched before it counts: memory that an application takes at its start is no leak."""
    return min(max(within / 8, memory_growth.SHORTEST), _LONGEST_WATCH)


_BADNESS: Final = (Outcome.PASS, Outcome.WARN, Outcome.FAIL)


def _value(used: ContainerUsage, measure: Measure) -> float:
    return float(used.memory_bytes) if measure is Measure.MEMORY else used.cpu_cores


def _against(line: UsageLine, value: float) -> tuple[Outcome, str]:
    """Outcome and text: `memory 312 MiB is 61 % of 512 MiB`."""
    text = f"{line.measure} {quantities.words(value, line.measure)}"
    if line.whole:
        text += f" is {value / line.whole:.0%} of {quantities.words(line.whole, line.measure)}".replace("%", " %")
    if line.critical is not None and value > line.critical:
        return Outcome.FAIL, text
    if line.warning is not None and value > line.warning:
        return Outcome.WARN, text
    return Outcome.PASS, text


def _no_figures(pod: str) -> CheckResult:
    message = f"metrics-server has no recent figures of pod {pod} (a new pod has none for the first half minute)"
    return CheckResult(Outcome.INCONCLUSIVE, "NoFigures", message)
