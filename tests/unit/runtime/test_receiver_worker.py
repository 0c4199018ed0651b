"""What receivers are told over time, in virtual time: whole incidents, outages, floods, flapping, deaths."""

import asyncio
from datetime import timedelta

from resilience.api.reasons import AlertName, Reason, Severity
from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Kind
from resilience.core.model.observation import Key, Resource
from resilience.runtime.alerting.alert_index import Heartbeat
from tests.support.factories import make_resource, make_spec
from tests.support.telling import TEAM, FakeNotifier, FakeReceivers, Office, firing, kinds, make_receiver, minutes
from tests.support.virtual_time import VirtualClock, run_virtual

DOWN = DeliveryFailure("it answered 503")
OTHER = Key("shop", "other")


def test_an_incident_is_one_conversation_from_its_beginning_to_its_end() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            began = office.now()
            office.service(firing(AlertName.CHECK_WARNING, severity=Severity.WARNING, since=began, subject="ready"))
            await minutes(1)
            warning = firing(AlertName.CHECK_WARNING, severity=Severity.WARNING, since=began, subject="ready")
            office.service(warning, firing(AlertName.SERVICE_UNHEALTHY, since=office.now(), subject="ready"))
            await minutes(1)
            office.service(warning, firing(AlertName.SERVICE_DOWN, since=office.now()))
            await minutes(5)
            office.service()
            await minutes(1)
            told = office.messenger.at()
            assert kinds(told) == ["opened", "escalated", "updated", "ended"]
            assert len({(each.conversation, each.group) for each in told}) == 1
            assert [each.sequence for each in told] == [0, 1, 2, 3]
            assert [each.severity for each in told] == ["warning", "critical", "critical", "critical"]
            assert told[-1].over
            assert office.cluster.found[TEAM].status.summary == "0"

    run_virtual(main())


def test_what_gets_worse_is_told_at_once() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            began = office.now()
            office.service(firing(severity=Severity.WARNING, since=began))
            await asyncio.sleep(15)
            office.service(firing(severity=Severity.CRITICAL, since=began))
            await asyncio.sleep(1)
            assert kinds(office.messenger.at()) == ["opened", "escalated"]

    run_virtual(main())


def test_the_first_message_waits_for_others_of_its_group() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            first = firing(since=office.now(), subject="ready")
            office.service(first)
            await asyncio.sleep(5)
            office.service(first, firing(since=office.now(), subject="live"))
            await asyncio.sleep(60)
            told = office.messenger.at()
            assert kinds(told) == ["opened"]
            assert [each.subject for each in told[0].firing] == ["ready", "live"]

    run_virtual(main())


def test_what_is_held_back_is_told_when_it_is_no_longer() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.service(firing(since=office.now(), held="follows from DependencyLost"))
            await minutes(10)
            assert office.messenger.at() == []
            office.service(firing(since=office.now()))
            await minutes(1)
            assert kinds(office.messenger.at()) == ["opened"]

    run_virtual(main())


def test_an_alert_that_flaps_for_an_hour_is_told_at_most_once_a_window() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            for _ in range(60):
                office.service(firing(since=office.now()))
                await asyncio.sleep(30)
                office.service()
                await asyncio.sleep(30)
            told = office.messenger.at()
            windows = 3600 // 300
            assert 2 <= len(told) <= windows
            opened = [each for each in told if each.kind is not Kind.ENDED]
            assert sum(each.suppressed for each in told) > 0
            assert len(opened) <= windows
            await minutes(11)
            assert office.messenger.at()[-1].over, "it has been quiet: the conversation is over"
            await minutes(10)
            assert office.cluster.found[TEAM].status.conversations == [], "and nothing of it is kept"

    run_virtual(main())


def test_thirty_services_that_lose_one_redis_are_one_page() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            cause = "redis redis.data:6379"
            for number in range(30):
                lost = firing(AlertName.DEPENDENCY_LOST, since=office.now(), subject="cache", cause=cause)
                office.service(lost, name=f"service-{number}")
                await asyncio.sleep(0.3)
            await minutes(10)
            told = office.messenger.at()
            assert len({each.conversation for each in told}) == 1
            assert told[0].kind is Kind.OPENED
            assert len(told[-1].firing) == 30
            assert len(told) <= 2
            for number in range(30):
                office.service(name=f"service-{number}")
                await asyncio.sleep(0.3)
            await minutes(1)
            assert office.messenger.at()[-1].over
            assert len(office.messenger.at()) <= 3

    run_virtual(main())


def test_a_storm_without_a_common_cause_is_one_message_too() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            for number in range(40):
                office.service(firing(since=office.now()), name=f"service-{number}")
                await asyncio.sleep(1.5)
            await minutes(3)
            told = office.messenger.at()
            assert len({each.conversation for each in told}) <= 6
            known = {alert.identity for each in told for alert in each.firing}
            assert len(known) == 40, "nobody is left out"
            assert len(told) <= 10

    run_virtual(main())


def test_a_receiver_that_is_down_for_twenty_minutes_gets_one_digest_of_what_still_matters() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.messenger.down[TEAM] = DOWN
            for number in range(500):
                office.service(firing(since=office.now()), name=f"service-{number}")
            await minutes(10)
            for number in range(450):
                office.service(name=f"service-{number}")
            await minutes(10)
            status = office.cluster.found[TEAM].status
            assert status.failure is not None
            assert len(status.dead_letters) <= 50
            assert status.conversations == []
            tries = office.messenger.tries[TEAM]
            assert tries < 60, "it is not hammered"
            del office.messenger.down[TEAM]
            await minutes(3)
            (digest,) = office.messenger.at()
            assert digest.kind is Kind.OPENED
            assert len(digest.firing) == 50, "what came and went is dropped; what still fires is told"
            status = office.cluster.found[TEAM].status
            assert status.failure is None
            for number in range(450, 500):
                office.service(name=f"service-{number}")
            await minutes(1)
            assert kinds(office.messenger.at()) == ["opened", "ended"]

    run_virtual(main())


def test_what_cannot_be_told_in_time_is_a_dead_letter_said_so_and_told_to_the_fallback() -> None:
    async def main() -> None:
        receivers = (make_receiver(fallback="other"), make_receiver(OTHER))
        async with Office(*receivers).open() as office:
            office.messenger.down[TEAM] = DOWN
            office.service(firing(since=office.now()))
            await minutes(14)
            assert office.messenger.at(OTHER) == []
            await minutes(3)
            (instead,) = office.messenger.at(OTHER)
            assert "shop/team cannot be reached" in instead.note
            status = office.cluster.found[TEAM].status
            assert [each.alert for each in status.dead_letters] == ["shop/checkout/ServiceUnhealthy/"]
            assert status.dead == 1
            assert [each.reason for each in office.cluster.events] == [Reason.NOT_DELIVERED]
            assert Key("shop", "checkout") in office.woken, "the service's status has to say so"
            del office.messenger.down[TEAM]
            await minutes(2)
            assert kinds(office.messenger.at()) == ["opened"]
            assert office.cluster.found[TEAM].status.dead_letters == []
            assert office.cluster.events[-1].reason is Reason.DELIVERED
            end = office.messenger.at(OTHER)[-1]
            assert end.over
            assert end.ended[0].moved, "it still fires, and is told where it belongs"

    run_virtual(main())


def test_what_only_a_person_can_mend_is_not_tried_again_and_again() -> None:
    async def main() -> None:
        receivers = (make_receiver(fallback="other"), make_receiver(OTHER))
        async with Office(*receivers).open() as office:
            office.messenger.down[TEAM] = DeliveryFailure("it answered 404", permanent=True)
            office.service(firing(since=office.now()))
            await minutes(1)
            assert office.messenger.tries[TEAM] == 1
            assert kinds(office.messenger.at(OTHER)) == ["opened"], "others are told without waiting"
            del office.messenger.down[TEAM]
            office.cluster.annotate(TEAM, replay="now")
            office.couriers.wake(TEAM)
            await minutes(1)
            assert kinds(office.messenger.at()) == ["opened"], "a person asked: tried at once"

    run_virtual(main())


def test_replay_tells_what_came_and_went() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.messenger.down[TEAM] = DOWN
            office.service(firing(since=office.now()))
            await minutes(17)
            office.service()
            await minutes(1)
            del office.messenger.down[TEAM]
            office.cluster.annotate(TEAM, replay="1")
            office.couriers.wake(TEAM)
            await minutes(1)
            (missed,) = office.messenger.at()
            assert missed.kind is Kind.MISSED
            assert [each.identity for each in missed.ended] == ["shop/checkout/ServiceUnhealthy/"]
            status = office.cluster.found[TEAM].status
            assert status.dead_letters == []
            assert [each.note for each in status.handled] == ["delivered"]
            await minutes(5)
            assert len(office.messenger.at()) == 1, "once"

    run_virtual(main())


def test_a_test_is_sent_once_and_its_result_said() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.messenger.down[TEAM] = DeliveryFailure("it answered 401", permanent=True)
            office.cluster.annotate(TEAM, test="1")
            office.couriers.wake(TEAM)
            await minutes(1)
            assert office.cluster.found[TEAM].status.handled[0].note == "not delivered: it answered 401"
            office.messenger.down.clear()
            office.cluster.annotate(TEAM, test="2")
            office.couriers.wake(TEAM)
            await minutes(5)
            assert kinds(office.messenger.at()) == ["test"]
            assert office.cluster.found[TEAM].status.handled[0].note == "delivered"

    run_virtual(main())


def test_a_receiver_that_hangs_keeps_no_other_waiting() -> None:
    async def main() -> None:
        others = [make_receiver(Key("shop", f"hangs-{number}")) for number in range(50)]
        async with Office(make_receiver(), *others).open() as office:
            office.messenger.hang = {each.key for each in others}
            for each in others:
                office.service(firing(since=office.now()), name=each.key.name, defaultReceiver=each.key.name)
            office.service(firing(since=office.now()))
            await asyncio.sleep(11)
            assert kinds(office.messenger.at()) == ["opened"]

    run_virtual(main())


def test_a_new_leader_neither_repeats_nor_forgets() -> None:
    async def main() -> None:
        cluster = FakeReceivers()
        messenger = FakeNotifier(VirtualClock())
        office = Office(make_receiver(), cluster=cluster, messenger=messenger)
        async with office.open():
            office.service(firing(since=office.now()), name="stays")
            office.service(firing(since=office.now()), name="ends")
            office.service(firing(since=office.now()), name="goes")
            await minutes(1)
        assert len(messenger.at()) == 3
        stays = firing(since=VirtualClock().now() - timedelta(minutes=1))
        after = Office(cluster=cluster, messenger=messenger)
        working = asyncio.create_task(after.couriers.run())
        await after.couriers.resync()
        await minutes(5)
        assert len(messenger.at()) == 3, "of services that nobody has looked at yet nothing is over"
        after.service(stays, name="stays")
        after.service(name="ends")
        after.all_looked_at()
        await minutes(1)
        ended = messenger.at()[3:]
        assert kinds(ended) == ["ended", "ended"]
        assert {each.ended[0].identity.split("/")[1] for each in ended} == {"ends", "goes"}
        working.cancel()
        await asyncio.wait([working])

    run_virtual(main())


def test_killed_before_it_is_noted_it_is_told_again_under_the_same_name() -> None:
    async def main() -> None:
        cluster, messenger = FakeReceivers(), FakeNotifier(VirtualClock())
        office = Office(make_receiver(), cluster=cluster, messenger=messenger)
        began = office.now()
        async with office.open():
            # The process dies between the message and the note: it may write nothing any more.
            messenger.after = lambda: setattr(office.leading, "is_held", False)
            office.service(firing(since=began))
            await minutes(1)
        messenger.after = lambda: None
        after = Office(cluster=cluster, messenger=messenger)
        after.service(firing(since=began))
        async with after.open():
            await minutes(1)
            after.service()
            await minutes(1)
        first, second, end = messenger.at()
        assert first.delivery == second.delivery
        assert first.conversation == second.conversation == end.conversation
        assert end.over

    run_virtual(main())


def test_while_the_api_server_is_away_nothing_is_told_twice() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            messenger, cluster = office.messenger, office.cluster
            messenger.after = lambda: setattr(cluster, "away", True)
            office.service(firing(since=office.now()))
            await minutes(2)
            messenger.after = lambda: None
            cluster.away = False
            await minutes(2)
            assert kinds(messenger.at()) == ["opened"]
            office.service()
            await minutes(1)
            assert kinds(messenger.at()) == ["opened", "ended"]

    run_virtual(main())


def test_a_conflict_about_something_else_loses_no_note() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            changed: list[int] = []

            def somebody_annotates() -> None:
                if not changed:
                    changed.append(1)
                    office.cluster.annotate(TEAM, other="x")

            office.cluster.before_write = somebody_annotates
            office.service(firing(since=office.now()))
            await minutes(5)
            assert kinds(office.messenger.at()) == ["opened"]
            assert office.cluster.found[TEAM].status.summary == "1"

    run_virtual(main())


def test_the_heartbeat_is_told_again_and_again() -> None:
    async def main() -> None:
        beat = Heartbeat(TEAM, timedelta(minutes=1))
        async with Office(make_receiver(), heartbeat=beat).open() as office:
            await minutes(10)
            assert 9 <= len(office.messenger.at()) <= 11

    run_virtual(main())


def test_the_operators_own_receiver_hears_of_one_that_cannot_be_reached() -> None:
    async def main() -> None:
        own = Key("resilience-system", "ops")
        async with Office(make_receiver(), make_receiver(own), default=own).open() as office:
            office.messenger.down[TEAM] = DeliveryFailure("it answered 403", permanent=True)
            office.service(firing(since=office.now()))
            await minutes(1)
            (alert,) = office.messenger.at(own)[0].firing
            assert alert.name is AlertName.ALERTS_UNDELIVERED
            assert alert.subject == "shop/team"
            office.messenger.down.clear()
            office.cluster.annotate(TEAM, replay="1")
            office.couriers.wake(TEAM)
            await minutes(1)
            assert office.messenger.at(own)[-1].over

    run_virtual(main())


def test_alertmanager_is_told_again_while_it_fires_and_once_when_it_is_over() -> None:
    async def main() -> None:
        async with Office(make_receiver(alertmanager={"urls": ["http://alertmanager:9093"]})).open() as office:
            began = office.now()
            office.service(firing(severity=Severity.WARNING, since=began))
            await minutes(3.5)
            office.service(firing(severity=Severity.CRITICAL, since=began))
            await asyncio.sleep(1)
            worse = office.messenger.at()[-1]
            assert [each.severity for each in worse.firing] == ["critical"]
            assert [each.severity for each in worse.ended] == ["warning"], "to Alertmanager it is another alert"
            office.service()
            await asyncio.sleep(1)
            end = office.messenger.at()[-1]
            assert end.over
            assert [each.severity for each in end.ended] == ["critical"]
            count = len(office.messenger.at())
            assert 5 <= count <= 7
            await minutes(10)
            assert len(office.messenger.at()) == count

    run_virtual(main())


def test_a_receiver_that_is_gone_is_forgotten() -> None:
    async def main() -> None:
        async with Office(make_receiver()).open() as office:
            office.service(firing(since=office.now()))
            await minutes(1)
            office.cluster.found.clear()
            office.couriers.drop(TEAM)
            await minutes(1)
            assert office.hub.alerting(_resource()).troubles[TEAM][0] is Reason.RECEIVER_NOT_FOUND

    run_virtual(main())


def _resource() -> Resource:
    return make_resource(make_spec(alerts={"defaultReceiver": "team"}))
