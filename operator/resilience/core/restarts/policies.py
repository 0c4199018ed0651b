"""Restart policies: the checks that they need, and the pods that they fire for.

The check runner counts how long a value lasts: a policy is a check of its own with its own threshold. `limits` decides
whether a firing policy may restart anything. An unknown value never fires.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from resilience.api.reasons import HealthState
from resilience.api.restarts import Of, Policy
from resilience.api.scalars import format_duration
from resilience.api.status import Effective
from resilience.api.v1alpha1 import ResilientServiceSpec
from resilience.core.health import quantities
from resilience.core.health.ports import find_container
from resilience.core.health.targets import at_pods
from resilience.core.model.context import Context
from resilience.core.model.observation import Pod
from resilience.core.model.probes import CheckTarget, Measure, Probe, SlopeProbe, UsageLine, UsageProbe
from resilience.core.model.workload import Container
from resilience.core.replacement import availability

# Checks of policies are kept apart from the health checks of the same name.
PREFIX: Final = "policy/"
# Pods that were created together must not expire together: a pod lives longer than the limit by up to this share.
AGE_SPREAD: Final = 0.1
# Longest start of a pod when spec.probes.startup sets none.
_START: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Firing:
    """A policy that fires for a pod; `message` states the rule, the value and the threshold."""

    policy: Policy
    pod: Pod
    message: str


def firing(context: Context) -> tuple[Firing, ...]:
    """Every pod that a policy fires for, in the order of the policies, and the oldest pod first."""
    if context.observation.pods is None:
        return ()
    pods = sorted(availability.staying(context.observation.pods), key=lambda pod: (pod.created, pod.name))
    asked = {(target.check, target.pod_uid): target.probe for target in targets(context)}
    return tuple(
        Firing(policy, pod, message)
        for policy in context.spec.restart.policies
        for pod in pods
        if not (_waits_for_start(policy) and _is_starting(context, pod))
        if not _is_outdated(context, policy, pod, asked)
        if (message := _fires(context, policy, pod))
    )


def _is_outdated(context: Context, policy: Policy, pod: Pod, asked: Mapping[tuple[str, str], Probe]) -> bool:
    """The known state answers another question than the one that is asked now: the pod was resized meanwhile."""
    name = PREFIX + policy.name
    state, wanted = context.observation.checks.get(name), asked.get((name, pod.uid))
    answered = state.probes_by_pod.get(pod.uid) if state is not None else None
    return answered is not None and wanted is not None and answered != wanted


def next_due(context: Context) -> timedelta | None:
    """Time until a pod becomes too old or has no time left to start, if nothing changes before; None when none does."""
    if context.observation.pods is None:
        return None
    pods, all_policies = availability.staying(context.observation.pods), context.spec.restart.policies
    ends = [
        pod.created + _age(policy, context.effective, pod)
        for policy in all_policies
        if policy.uptime is not None
        for pod in pods
    ]
    if any(_waits_for_start(policy) for policy in all_policies):
        ends += [_start_end(context.spec, pod) for pod in pods if _is_starting(context, pod)]
    return min((end - context.now for end in ends if end > context.now), default=None)


def _waits_for_start(policy: Policy) -> bool:
    """The policy ignores pods that start: such a pod fails its checks and is busy, which says nothing about it."""
    return policy.check is not None or policy.cpu is not None


def _is_starting(context: Context, pod: Pod) -> bool:
    """The pod has not been ready since its container started, and still has time for that.

    That time begins when its init containers have ended. A pod is unready from before its container starts, so a later
    change means that it was ready in between.
    """
    if not pod.initialized:
        return True
    if pod.ready or context.now >= _start_end(context.spec, pod):
        return False
    return pod.started is None or pod.ready_changed is None or pod.ready_changed <= pod.started


def _start_end(spec: ResilientServiceSpec, pod: Pod) -> datetime:
    startup = spec.probes.startup
    longest = startup.max_duration if startup is not None else None
    return (pod.started or pod.created) + (longest or _START)


def _fires(context: Context, policy: Policy, pod: Pod) -> str:
    """The message of a policy that fires for the pod; empty when it does not."""
    effective, observation, now = context.effective, context.observation, context.now
    if policy.uptime is not None:
        age, most = now - pod.created, _age(policy, effective, pod)
        long = format_duration(timedelta(seconds=int(age.total_seconds())))
        return f"pod {pod.name} is {long} old (above {_line(policy, effective)})" if age >= most else ""
    if policy.container_restarts is not None:
        rule = policy.container_restarts
        times = observation.pods.container_restarts.get(pod.uid, ()) if observation.pods is not None else ()
        count = sum(at > now - rule.within for at in times)
        words = f"containers of pod {pod.name} restarted {count} times within {format_duration(rule.within)}"
        return f"{words} (above {rule.above})" if count > rule.above else ""
    state = observation.checks.get(PREFIX + policy.name)
    if state is None or state.by_pod.get(pod.uid) is not HealthState.UNHEALTHY:
        return ""
    return f"pod {pod.name}: {state.messages_by_pod.get(pod.uid, state.message)}{_for_how_long(policy)}"


def _for_how_long(policy: Policy) -> str:
    usage = policy.memory or policy.cpu
    if usage is not None:
        return f" for {format_duration(usage.for_)} (above {usage.above})"
    return f", {policy.check.failures} times in a row" if policy.check is not None else ""


def _line(policy: Policy, effective: Effective) -> str:
    assert policy.uptime is not None
    return format_duration(policy.uptime.above or effective.uptime)


def _age(policy: Policy, effective: Effective, pod: Pod) -> timedelta:
    assert policy.uptime is not None
    most = policy.uptime.above or effective.uptime
    share = zlib.crc32(pod.uid.encode()) / 2**32
    return most * (1 + AGE_SPREAD * share)


def targets(context: Context) -> tuple[CheckTarget, ...]:
    """The checks that the policies need, one per pod; a policy without a threshold to compare with needs none."""
    container = find_container(context.spec, context.workload)
    if container is None:
        return ()
    view = context.observation.pods
    pods = availability.staying(view) if view is not None else ()
    # Starting pods are not measured either: failures counted during a start must not remain after it.
    starting = {pod.uid for pod in pods if _is_starting(context, pod)}
    return tuple(
        target
        for policy in context.spec.restart.policies
        for target in _targets_of(policy, context, pods, container)
        if not (_waits_for_start(policy) and target.pod_uid in starting)
    )


def _targets_of(policy: Policy, context: Context, pods: Sequence[Pod], container: Container) -> Iterator[CheckTarget]:
    spec, effective, named = context.spec, context.effective, policy.check
    check = next((check for check in spec.health.checks if named is not None and check.name == named.name), None)
    if check is not None and named is not None:
        for target in at_pods(check, spec, effective, context.observation):
            yield replace(target, check=PREFIX + policy.name, failure_threshold=named.failures, success_threshold=1)
        return
    usage = policy.memory or policy.cpu
    for pod in pods:
        probe = _probe(policy, container, context.workload.namespace, pod)
        if probe is not None:
            yield CheckTarget(
                check=PREFIX + policy.name,
                probe=probe,
                pod_uid=pod.uid,
                interval=effective.interval,
                timeout=effective.timeout,
                failure_threshold=2 if policy.memory_slope is not None else 1,
                success_threshold=1,
                sustained=usage.for_ if usage is not None else timedelta(),
            )


def _probe(policy: Policy, container: Container, namespace: str, pod: Pod) -> Probe | None:
    resources = quantities.resources(pod, container)
    for measure, rule in ((Measure.MEMORY, policy.memory), (Measure.CPU, policy.cpu)):
        if rule is not None:
            whole = quantities.whole(resources, measure, rule.of)
            line = UsageLine(measure, None, quantities.resolve(rule.above, whole), whole)
            has_threshold = line.critical is not None
            return UsageProbe(namespace, pod.name, container.name, (line,), pod.created) if has_threshold else None
    limit = resources.limits.get("memory")
    if policy.memory_slope is not None and limit is not None:
        return SlopeProbe(namespace, pod.name, pod.uid, container.name, limit, policy.memory_slope.limit_within)
    return None


def unmeasurable(context: Context) -> str:
    """Message about the first policy or usage check that can never have a result, with the fix; empty when all can."""
    spec, container = context.spec, find_container(context.spec, context.workload)
    if container is None:
        return ""
    # A LimitRange may give pods the limits that the template leaves out.
    having = [quantities.resources(pod, container) for pod in context.observation.all_pods] or [container.resources]
    for owner, resource, amount, of in _lines(spec):
        if all(quantities.resolve(amount, quantities.whole(known, resource, of)) is None for known in having):
            kind = of.lower()
            return (
                f"{owner} compares with a {resource} {kind} that container {container.name} does not set:"
                f" set resources.{kind}s.{resource}, or write an amount in place of {amount}"
            )
    slope = next((policy for policy in spec.restart.policies if policy.memory_slope is not None), None)
    if slope is not None and not any("memory" in known.limits for known in having):
        return f"policy {slope.name} foresees when a memory limit is reached, and container {container.name} has none"
    return ""


def _lines(spec: ResilientServiceSpec) -> Iterator[tuple[str, str, str, Of]]:
    """Every comparison of usage with an amount: the policy or check, resource, amount, and the base of a share."""
    for policy in spec.restart.policies:
        for resource, rule in (("memory", policy.memory), ("cpu", policy.cpu)):
            if rule is not None:
                yield f"policy {policy.name}", resource, rule.above, rule.of
    for check in spec.health.checks:
        usage = check.usage
        for resource, bounds in (("memory", usage.memory), ("cpu", usage.cpu)) if usage is not None else ():
            if bounds is not None and usage is not None:
                # Without its own value the check has the threshold of the profile, which is a share.
                yield f"check {check.name}", resource, bounds.critical or "95%", usage.of
