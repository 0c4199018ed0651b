"""A HorizontalPodAutoscaler counts the pods of both colours: its replicas must not run up through a release.

The rule of Kubernetes itself decides, every 15 seconds, on figures that are half a minute behind; the real core and
executor release under it.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil, inf
from typing import Any, Final, Protocol

import pytest

from resilience.core.model.autoscaler import Autoscaler
from tests.support.horizontal_autoscaler import Stabilised, of_mean, of_total
from tests.support.preconditions import require
from tests.support.release_model import Kind, ReleaseModel
from tests.support.release_operator import Operator, blue_green

SYNC: Final = 15
# metrics-server has no figures of a new pod before.
BLIND: Final = timedelta(seconds=30)
LONG_RELEASE: Final = {"blueGreen": {"warmPeriod": "75s"}, "progressDeadline": "300s"}
LONGEST: Final = 600


class Rule(Protocol):
    """Replicas that the autoscaler wants now."""

    def __call__(self, model: ReleaseModel) -> int: ...


@dataclass(frozen=True)
class Memory:
    """Each pod has the same share of the target in use, whether it serves or not."""

    share: float

    def __call__(self, model: ReleaseModel) -> int:
        return of_mean(model.replicas, dict.fromkeys(figures(model), self.share) | blind(model))


@dataclass(frozen=True)
class Cpu:
    """The load is divided among the pods that serve; an idle one uses this share of the target."""

    load: float
    idle: float

    def __call__(self, model: ReleaseModel) -> int:
        serving = {endpoint.pod_name for endpoint in model.slices if endpoint.counts}
        shares: dict[str, float | None] = {
            name: self.idle + (self.load / len(serving) if name in serving else 0) for name in figures(model)
        }
        # A pod without figures is unready for CPU, and left out below the target.
        return of_mean(model.replicas, shares)


@dataclass(frozen=True)
class Total:
    """An Object or External metric with `Value`: the length of a queue."""

    ratio: float

    def __call__(self, model: ReleaseModel) -> int:
        return of_total(model.replicas, self.ratio, len(running(model)))


def running(model: ReleaseModel) -> dict[str, timedelta]:
    """Age of the pods that the target's selector finds: those of both colours."""
    return {pod.name: model.now - pod.created for pod in model.pods.values() if pod.ready and pod.gone_at is None}


def figures(model: ReleaseModel) -> list[str]:
    return [name for name, age in running(model).items() if age >= BLIND]


def blind(model: ReleaseModel) -> dict[str, float | None]:
    return {name: None for name, age in running(model).items() if age < BLIND}


@dataclass
class Scaled(Operator):
    """Passes over a model whose replicas an autoscaler sets. `most`: the most that it ever set."""

    rule: Rule = field(kw_only=True)
    most: int = 0
    acted: Stabilised = field(default_factory=Stabilised)

    def second(self) -> None:
        """Everybody works for a second."""
        model, scaler = self.model, self.model.scaler
        model.now += timedelta(seconds=1)
        model.tick()
        if scaler is not None and model.now.second % SYNC == 0:
            model.scale(self.acted.act(model.replicas, self.rule(model), may_grow=scaler.scale_up != "Disabled"))
        self.most = max(self.most, model.replicas)
        self.reconcile()

    def release(self, *, until_more_than: float = inf) -> None:
        """A whole release, from rest to rest, or until there were more replicas than that."""
        for _ in range(5):
            self.second()
        require(self.model.paused and self.model.green is None, "the target is not held")
        self.model.change("t1", Kind(delay=5))
        for _ in range(LONGEST):
            self.second()
            if self.most > until_more_than:
                return
            if self.model.resting and self.model.notes.get("resilience.dev/serving-template") == "t1":
                self.second()
                return
        require(False, "the release does not end")


def released(
    rule: Rule, *, replicas: int, runs_up: bool, scale_up: str = "", until_more_than: float = inf, **changes: Any
) -> Scaled:
    scaler = Autoscaler("hpa", 1, runs_up=runs_up, scale_up=scale_up)
    scaled = Scaled(
        ReleaseModel(blue_green(**{**LONG_RELEASE, **changes}), replicas=replicas, scaler=scaler), rule=rule
    )
    scaled.release(until_more_than=until_more_than)
    return scaled


RULES: Final = [Memory(0.8), Memory(0.6), Total(0.8), Total(0.6)]


@pytest.mark.parametrize("replicas", [1, 4])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_replicas_never_exceed_the_start_while_two_colours_exist(rule: Rule, replicas: int) -> None:
    assert released(rule, replicas=replicas, runs_up=True).most == replicas


def test_a_warm_period_that_is_longer_than_the_deadline_is_no_delay() -> None:
    scaled = released(Memory(0.8), replicas=2, runs_up=True, progressDeadline="60s")

    assert scaled.most == 2


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_control_left_alone_the_autoscaler_runs_up(rule: Rule) -> None:
    assert released(rule, replicas=3, runs_up=False, until_more_than=3).most > 3


@pytest.mark.parametrize("replicas", [1, 4])
@pytest.mark.parametrize(("use", "idle"), [(1.0, 0.0), (0.9, 0.0), (0.95, 0.05), (0.9, 0.1)])
def test_cpu_needs_no_remedy(use: float, idle: float, replicas: int) -> None:
    """An idle colour adds as many pods as it lowers the mean; only what it uses while idle is added."""
    rule = Cpu(load=replicas * (use - idle), idle=idle)

    assert released(rule, replicas=replicas, runs_up=False).most <= replicas + ceil(2 * idle * replicas)


@pytest.mark.parametrize("policy", ["", "Max", "Min"])
def test_the_autoscaler_is_as_it_was_when_the_release_is_over(policy: str) -> None:
    scaled = released(Memory(0.8), replicas=3, runs_up=True, scale_up=policy)

    assert scaled.model.scaler == Autoscaler("hpa", 1, runs_up=True, scale_up=policy)


def test_one_whose_owner_had_switched_it_off_stays_so() -> None:
    scaled = released(Memory(0.8), replicas=3, runs_up=True, scale_up="Disabled")

    assert scaled.model.scaler == Autoscaler("hpa", 1, runs_up=True, scale_up="Disabled")
