"""Dispatcher where they are tried hardest: full statuses, odd ones, refusals, many wakes, leaders that know little."""

import asyncio
from typing import Any, Final

import pytest

from resilience.api.reasons import AlertName, Reason, Severity
from resilience.api.status_receiver import ReceiverStatus
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.grouping import CAPACITY, CONVERSATIONS, MEMBERS
from resilience.core.alerting.message import Message
from resilience.core.model.observation import Key
from tests.support.telling import TEAM, FakeNotifier, FakeReceivers, Office, firing, kinds, make_receiver, minutes
from tests.support.virtual_time import VirtualClock, run_virtual

REFUSES = DeliveryFailure("it answered 404", permanent=True)
URL: Final = {"urlFrom": {"secretKeyRef": {"name": "alerts", "key": "url"}}}
OTHER, LAST = Key("shop", "other"), Key("shop", "last")


def told_of(messages: list[Message]) -> set[str]:
    return {alert.key.name for each in messages for alert in each.firing}


def test_more_conversations_than_fit_are_told_all_the_same() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            for number in range(CONVERSATIONS + 30):
                office.service(firing(since=office.now()), name=f"service-{number}")
                await minutes(1.1)
            assert len(told_of(office.messenger.at())) == CONVERSATIONS + 30
            kept = office.cluster.found[TEAM].status.conversations
            assert len(kept) == CONVERSATIONS
            for number in range(CONVERSATIONS + 30):
                office.service(name=f"service-{number}")
            await minutes(10)
            opened = {each.conversation for each in office.messenger.at()}
            over = {each.conversation for each in office.messenger.at() if each.over}
            assert opened == over
            assert office.cluster.found[TEAM].status.conversations == []

    run_virtual(main())


def test_a_page_gets_through_however_much_else_was_told() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            for number in range(CAPACITY + 200):
                warning = firing(AlertName.CHECK_WARNING, severity=Severity.WARNING, since=office.now())
                office.service(warning, name=f"service-{number}")
            await minutes(2)
            (storm,) = office.messenger.at()
            assert len(storm.firing) == MEMBERS
            assert storm.more == CAPACITY + 200 - MEMBERS
            await minutes(15)
            office.service(firing(since=office.now()), name="payments")
            await asyncio.sleep(15)
            assert "payments" in told_of(office.messenger.at()[1:])

    run_virtual(main())


def test_one_failed_try_for_what_is_over_says_nothing_of_the_receiver() -> None:
    async def main() -> None:
        async with Office(make_receiver(fallback="other"), make_receiver(OTHER)).open() as office:
            office.messenger.down[TEAM] = DeliveryFailure("it answered 503")
            office.service(firing(since=office.now()))
            await asyncio.sleep(11)
            office.service()
            office.messenger.down.clear()
            await minutes(30)
            assert office.cluster.found[TEAM].status.failure is None
            assert office.cluster.events == []
            office.service(firing(since=office.now()))
            await minutes(1)
            assert kinds(office.messenger.at()) == ["opened"]
            assert office.messenger.at(OTHER) == []

    run_virtual(main())


def test_who_has_mended_a_receiver_learns_that_it_is_even_with_nothing_to_tell() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.messenger.down[TEAM] = REFUSES
            office.service(firing(since=office.now()))
            await minutes(1)
            office.service()
            await minutes(25 * 60)
            assert office.cluster.found[TEAM].status.failure is not None
            office.messenger.down.clear()
            office.cluster.annotate(TEAM, replay="1")
            office.couriers.wake(TEAM)
            await minutes(1)
            assert kinds(office.messenger.at()) == ["test"]
            assert office.cluster.found[TEAM].status.failure is None

    run_virtual(main())


def test_who_stands_in_for_who_stands_in_is_told_at_once() -> None:
    async def main() -> None:
        receivers = (
            make_receiver(fallback="other"),
            make_receiver(OTHER, fallback="last"),
            make_receiver(LAST),
        )
        async with Office(*receivers).open() as office:
            office.messenger.down = {TEAM: REFUSES, OTHER: REFUSES}
            office.service(firing(since=office.now()), name="first")
            await minutes(1)
            assert told_of(office.messenger.at(LAST)) == {"first"}
            office.service(firing(since=office.now()), name="second")
            await asyncio.sleep(12)
            assert told_of(office.messenger.at(LAST)) == {"first", "second"}

    run_virtual(main())


def test_another_fallback_is_told_and_the_former_one_hears_the_end() -> None:
    async def main() -> None:
        async with Office(make_receiver(fallback="other"), make_receiver(OTHER), make_receiver(LAST)).open() as office:
            office.messenger.down[TEAM] = REFUSES
            office.service(firing(since=office.now()))
            await minutes(1)
            before = office.cluster.found[TEAM]
            changed = make_receiver(status=before.status, fallback="last")
            office.cluster.found[TEAM] = changed
            office.couriers.wake(TEAM)
            await minutes(1)
            assert kinds(office.messenger.at(LAST)) == ["opened"]
            assert office.messenger.at(OTHER)[-1].over

    run_virtual(main())


@pytest.mark.parametrize(("kind", "at_once"), [({"apprise": URL}, 1), ({}, 3)])
def test_a_namespace_has_one_process_for_apprise_and_many_connections(kind: Any, at_once: int) -> None:
    async def main() -> None:
        keys = (TEAM, OTHER, LAST)
        async with Office(*(make_receiver(key, **kind) for key in keys)).open() as office:
            office.messenger.hang |= set(keys)
            routes = [{"receiver": key.name, "continue": True} for key in keys]
            office.service(firing(since=office.now()), routes=routes)
            await asyncio.sleep(15)
            assert sum(office.messenger.tries.values()) == at_once
            # The others wait for their turn, not for their time-out.
            await minutes(1)
            assert all(office.messenger.tries[key] for key in keys)

    run_virtual(main())


def test_a_list_that_lacks_a_receiver_forgets_none() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.cluster.unlisted.add(TEAM)
            await office.couriers.resync()
            office.service(firing(since=office.now()))
            await minutes(1)
            assert kinds(office.messenger.at()) == ["opened"]

    run_virtual(main())


def test_what_a_hand_wrote_into_a_status_keeps_nothing_back() -> None:
    async def main() -> None:
        office = Office(make_receiver())
        async with office.open():
            office.service(firing(since=office.now()))
            await minutes(1)
        known = office.cluster.found[TEAM].status.conversations[0]
        odd = [known.told[0].model_copy(update={"alert": each}) for each in ("nonsense", "a/b/Gone/", "//ServiceDown/")]
        status = ReceiverStatus(conversations=[known.model_copy(update={"told": [*known.told, *odd]})])
        after = Office(make_receiver(status=status), messenger=office.messenger)
        async with after.open():
            after.service(firing(since=after.now()), name="payments")
            after.service()
            await minutes(1)
        assert kinds(office.messenger.at()) == ["opened", "ended", "opened"]

    run_virtual(main())


def test_words_that_change_with_every_look_keep_nobody_busy() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            began = office.now()
            office.service(firing(since=began))
            await minutes(1)
            reads = office.cluster.reads
            for number in range(600):
                office.service(firing(since=began, message=f"it answered after {number} ms"))
                await asyncio.sleep(0.1)
            assert office.cluster.reads - reads <= 2
            for _ in range(600):
                office.couriers.wake(TEAM)
                await asyncio.sleep(0.1)
            assert office.cluster.reads - reads <= 125, "two looks a second, however often it is woken"

    run_virtual(main())


def test_one_message_that_is_not_taken_keeps_no_other_waiting() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.messenger.refused = lambda each: "odd" in told_of([each])
            office.service(firing(since=office.now()), name="odd")
            office.service(firing(since=office.now()), name="plain")
            await minutes(1)
            assert told_of(office.messenger.at()) == {"plain"}
            failure = office.cluster.found[TEAM].status.failure
            assert failure is not None
            assert failure.permanent, "a person has to look"
            tries = office.messenger.tries[TEAM]
            office.service(firing(since=office.now()), name="later")
            await minutes(5)
            assert told_of(office.messenger.at()) == {"plain", "later"}
            assert office.messenger.tries[TEAM] == tries + 1, "what was refused is not tried again and again"
            assert office.cluster.found[TEAM].status.failure is not None, "and is not forgotten"

    run_virtual(main())


def test_what_nobody_foresaw_is_a_failure_like_others() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:

            def fail(_: Message) -> bool:
                raise ZeroDivisionError

            office.messenger.refused = fail
            office.service(firing(since=office.now()))
            await minutes(1)
            failure = office.cluster.found[TEAM].status.failure
            assert failure is not None
            assert "ZeroDivisionError" in failure.message
            office.messenger.refused = lambda _: False
            await minutes(1)
            assert kinds(office.messenger.at()) == ["opened"]

    run_virtual(main())


def test_a_live_message_is_not_over_while_something_of_it_is_unknown() -> None:
    async def main() -> None:
        cluster, messenger = FakeReceivers(), FakeNotifier(VirtualClock())
        token = {"tokenFrom": {"secretKeyRef": {"name": "bot", "key": "token"}}, "channel": "#oncall"}
        cause = "redis redis.data:6379"
        office = Office(make_receiver(slack=token), cluster=cluster, messenger=messenger)
        lost = firing(AlertName.DEPENDENCY_LOST, since=office.now(), cause=cause)
        async with office.open():
            office.service(lost, name="one")
            office.service(lost, name="two")
            await minutes(1)
        after = Office(cluster=cluster, messenger=messenger)
        working = asyncio.create_task(after.couriers.run())
        await after.couriers.resync()
        after.service(name="one")
        await minutes(5)
        assert not any(each.over for each in messenger.at()), "nobody has looked at the other one yet"
        after.service(lost, name="two")
        await minutes(5)
        assert told_of([messenger.at()[-1]]) == {"two"}
        assert messenger.at()[-1].handle, "it is the same message still"
        working.cancel()
        await asyncio.wait([working])

    run_virtual(main())


def test_what_comes_back_after_hours_is_counted_before_it_is_told() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.service(firing(since=office.now()))
            await minutes(120)
            office.service()
            await minutes(1)
            assert kinds(office.messenger.at()) == ["opened", "ended"]
            office.service(firing(since=office.now()))
            await minutes(3)
            assert kinds(office.messenger.at()) == ["opened", "ended"]
            await minutes(3)
            again = office.messenger.at()[-1]
            assert kinds(office.messenger.at()) == ["opened", "ended", "opened"]
            assert again.suppressed == 1
            assert len({each.delivery for each in office.messenger.at()}) == 3

    run_virtual(main())


def test_what_gets_milder_is_told_without_haste() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            began = office.now()
            office.service(firing(since=began))
            await minutes(1)
            office.service(firing(since=began, severity=Severity.WARNING))
            await minutes(3)
            assert kinds(office.messenger.at()) == ["opened"]
            await minutes(3)
            assert kinds(office.messenger.at()) == ["opened", "updated"]
            assert office.messenger.at()[-1].severity is Severity.WARNING

    run_virtual(main())


def test_an_end_whose_answer_was_lost_is_taken_back_when_it_fires_again() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            began = office.now()
            office.service(firing(since=began))
            await minutes(1)
            office.messenger.lost.add(TEAM)
            office.service()
            await asyncio.sleep(0.1)
            office.service(firing(since=office.now()))
            office.messenger.mend()
            await minutes(6)
            assert not office.messenger.at()[-1].over

    run_virtual(main())


def test_an_alertmanager_is_told_when_a_window_of_the_route_opens() -> None:
    async def main() -> None:
        async with Office(make_receiver(alertmanager={"urls": ["http://alertmanager:9093"]})).open() as office:
            mute = [{"schedule": f"{office.now():%M %H} * * *", "duration": "10m"}]
            office.service(firing(since=office.now()), routes=[{"receiver": "team", "muteTimes": mute}])
            await minutes(9)
            assert office.messenger.at() == []
            await minutes(3)
            assert told_of(office.messenger.at()) == {"checkout"}

    run_virtual(main())


def test_a_new_leader_does_not_take_dead_letters_for_over() -> None:
    async def main() -> None:
        cluster, messenger = FakeReceivers(), FakeNotifier(VirtualClock())
        office = Office(make_receiver(), cluster=cluster, messenger=messenger)
        messenger.down[TEAM] = REFUSES
        async with office.open():
            office.service(firing(since=office.now()))
            await minutes(1)
        after = Office(cluster=cluster, messenger=messenger)
        working = asyncio.create_task(after.couriers.run())
        await after.couriers.resync()
        await minutes(1)
        (letter,) = cluster.found[TEAM].status.dead_letters
        assert letter.ended_at is None
        assert cluster.found[TEAM].status.failure is not None
        working.cancel()
        await asyncio.wait([working])

    run_virtual(main())


def test_a_receiver_made_again_under_the_same_name_knows_nothing_of_the_former_one() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.service(firing(since=office.now()))
            await minutes(1)
            fresh = make_receiver()
            object.__setattr__(fresh, "uid", "another")
            office.cluster.found[TEAM] = fresh
            office.couriers.wake(TEAM)
            await minutes(1)
            assert kinds(office.messenger.at()) == ["opened", "opened"]

    run_virtual(main())


def test_only_some_recipients_is_said() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.messenger.note = "the mail server accepts no mail for 1 of 2 recipients: a@example.com"
            office.service(firing(since=office.now()))
            await minutes(1)
            assert [each.reason for each in office.cluster.events] == [Reason.PARTLY_DELIVERED]

    run_virtual(main())


def test_receivers_that_hang_leave_the_deliveries_of_another_namespace_alone() -> None:
    async def main() -> None:
        noisy = [Key("noisy", f"hangs-{number}") for number in range(80)]
        receivers = [make_receiver(key, annotations={"resilience.dev/test-requested-at": "1"}) for key in noisy]
        async with Office(make_receiver(), *receivers).open() as office:
            office.messenger.hang.update(noisy)
            for key in noisy:
                office.couriers.wake(key)
            await asyncio.sleep(5)
            # One namespace has as many places as it leaves free.
            assert sum(office.messenger.tries[key] for key in noisy) == 16
            office.service(firing(since=office.now()))
            await asyncio.sleep(15)
            assert office.messenger.tries[TEAM] == 1
            assert len(office.messenger.at(TEAM)) == 1

    run_virtual(main())
