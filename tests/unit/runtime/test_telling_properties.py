"""Whatever fires, ends, fails and dies, in any order: in the end people believe what is true, told once."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilience.api.reasons import AlertName, Severity
from resilience.core.alerting.alertmanager_feed import EXPIRES, FEED
from resilience.core.alerting.delivery import LETTERS, DeliveryFailure
from resilience.core.alerting.grouping import CAPACITY
from resilience.core.alerting.message import Kind, Message
from tests.support.counts import count
from tests.support.telling import TEAM, FakeNotifier, FakeReceivers, Office, Told, firing, make_receiver, minutes
from tests.support.virtual_time import VirtualClock, run_virtual

SERVICES = 12


@dataclass(frozen=True)
class Step:
    what: str
    service: int = 0
    severity: Severity = Severity.WARNING
    cause: str = ""
    seconds: float = 0.0


STEPS = st.lists(
    st.one_of(
        st.builds(
            Step,
            st.just("fire"),
            st.integers(0, SERVICES - 1),
            st.sampled_from([Severity.WARNING, Severity.CRITICAL]),
            st.sampled_from(["", "redis redis.data:6379"]),
        ),
        st.builds(Step, st.just("end"), st.integers(0, SERVICES - 1)),
        st.builds(Step, st.just("wait"), seconds=st.sampled_from([0.5, 5.0, 15.0, 70.0, 400.0, 1200.0])),
        st.builds(
            Step, st.sampled_from(["down", "refuses", "answers lost", "up", "new leader", "api away", "api back"])
        ),
        st.builds(Step, st.just("killed"), st.integers(0, SERVICES - 1)),
    ),
    max_size=40,
)


def believed(arrived: list[Told], now: datetime) -> set[tuple[str, Severity]]:
    """What somebody believes who has read everything: the last message of each conversation counts.

    Alertmanager is told until when it may believe it.
    """
    # Nobody takes a test for an incident.
    last = {each.message.conversation: each for each in arrived if each.message.kind is not Kind.TEST}
    valid = [each.message for each in last.values() if each.message.conversation != FEED or each.at + EXPIRES > now]
    return {(alert.identity, alert.severity) for each in valid for alert in each.firing}


class World:
    """One receiver, several services, and one operator after the other."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.cluster, self.messenger = FakeReceivers(), FakeNotifier(VirtualClock())
        self.cluster.found[TEAM] = make_receiver(**spec)
        self.fires: dict[int, Any] = {}
        self.office: Office
        self.working: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """A process that leads, and has looked at everything."""
        if self.working is not None:
            self.working.cancel()
            await asyncio.wait([self.working])
        self.office = Office(cluster=self.cluster, messenger=self.messenger)
        self.working = asyncio.create_task(self.office.couriers.run())
        self.cluster.away = False
        await self.office.couriers.resync()
        for number in range(SERVICES):
            self.look(number)
        self.office.all_looked_at()

    def believed(self) -> set[tuple[str, Severity]]:
        return believed(self.messenger.arrived, self.office.now())

    def look(self, number: int) -> None:
        alert = self.fires.get(number)
        self.office.service(*([alert] if alert is not None else []), name=f"service-{number}")

    async def do(self, step: Step) -> None:
        match step.what:
            case "fire":
                before = self.fires.get(step.service)
                since = before.since if before is not None else self.office.now()
                name = AlertName.DEPENDENCY_LOST if step.cause else AlertName.SERVICE_UNHEALTHY
                # The cause is the alert's identity as much as its name: it does not change while it fires.
                if before is not None:
                    name, cause = before.name, before.cause
                else:
                    cause = step.cause
                self.fires[step.service] = firing(name, severity=step.severity, since=since, cause=cause)
                self.look(step.service)
            case "end":
                self.fires.pop(step.service, None)
                self.look(step.service)
            case "wait":
                await asyncio.sleep(step.seconds)
            case "down":
                self.messenger.down[TEAM] = DeliveryFailure("it answered 503")
            case "refuses":
                self.messenger.down[TEAM] = DeliveryFailure("it answered 404", permanent=True)
            case "answers lost":
                self.messenger.lost.add(TEAM)
            case "up":
                self.messenger.mend()
            case "api away":
                self.cluster.away = True
            case "api back":
                self.cluster.away = False
            case "killed":
                # Between the message and the note: the process may write nothing any more.
                self.messenger.after = lambda: setattr(self.office.leading, "is_held", False)
                await asyncio.sleep(20)
                self.messenger.after = lambda: None
                # While nobody leads, one of them is over.
                self.fires.pop(step.service, None)
                await self.begin()
            case "new leader":
                await self.begin()
        status = self.cluster.found[TEAM].status
        assert sum(len(each.told) for each in status.conversations) <= CAPACITY
        assert len(status.dead_letters) <= LETTERS


KEY = {"routingKeyFrom": {"secretKeyRef": {"name": "pager", "key": "key"}}}
KINDS: tuple[dict[str, Any], ...] = ({}, {"pagerduty": KEY}, {"alertmanager": {"urls": ["http://alertmanager:9093"]}})


@given(steps=STEPS, spec=st.sampled_from(KINDS))
@settings(max_examples=count(60, proof=2000), deadline=None, suppress_health_check=list(HealthCheck))
def test_in_the_end_people_believe_what_is_true(steps: list[Step], spec: dict[str, Any]) -> None:
    async def main() -> None:
        world = World(spec)
        await world.begin()
        for step in steps:
            await world.do(step)
        world.cluster.away = False
        world.messenger.mend()
        # Somebody has mended the receiver, and says so; then all that may wait has waited.
        world.cluster.annotate(TEAM, replay="the end")
        world.office.couriers.wake(TEAM)
        await minutes(15)
        true = {(f"shop/service-{number}/{alert.name}/", alert.severity) for number, alert in world.fires.items()}
        assert world.believed() == true
        for number in range(SERVICES):
            await world.do(Step("end", number))
        await minutes(15)
        assert world.believed() == set(), "no incident stays open"
        before = len(world.messenger.at())
        await minutes(60)
        assert len(world.messenger.at()) == before, "and then there is silence"
        assert world.cluster.found[TEAM].status.conversations == []
        _told_once(world.messenger.at(), doubted=any(each.what in ("killed", "answers lost") for each in steps))
        assert world.working is not None
        world.working.cancel()
        await asyncio.wait([world.working])

    run_virtual(main())


def _told_once(messages: list[Message], *, doubted: bool) -> None:
    """No conversation is opened that is open; what is told twice because nobody knew has the same name."""
    open_: dict[str, Message] = {}
    for each in messages:
        if each.kind is Kind.OPENED and each.conversation in open_:
            assert doubted
            before = open_[each.conversation]
            assert (each.delivery == before.delivery) is (each.firing == before.firing)
        if each.over:
            open_.pop(each.conversation, None)
        elif each.kind is Kind.OPENED:
            open_[each.conversation] = each
