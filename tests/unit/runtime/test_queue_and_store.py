"""The queue of keys and what the watches showed."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from resilience.api.status import Status
from resilience.api.v1alpha1 import TargetKind
from resilience.core.model.flags import FlagsMap
from resilience.core.model.observation import Key
from resilience.runtime.queue import GAP, KeyQueue, Priority
from resilience.runtime.store import Store
from tests.support.factories import KEY, NOW, make_endpoint, make_pod, make_resource, make_service
from tests.support.virtual_time import VirtualClock, run_virtual

OTHER = Key("shop", "other")


def make_queue() -> KeyQueue:
    return KeyQueue(monotonic=VirtualClock().monotonic, workers=16, jitter=random.Random(1))


def test_a_key_waits_once_and_the_urgent_come_first() -> None:
    async def main() -> None:
        queue = make_queue()
        for priority in (Priority.RESYNC, Priority.NORMAL, Priority.NORMAL):
            queue.add(KEY, priority)
        queue.add(OTHER, Priority.FAILOVER)

        assert len(queue) == 2
        assert [await queue.take(), await queue.take()] == [OTHER, KEY]
        assert len(queue) == 0

    run_virtual(main())


def test_a_key_is_worked_on_by_one_and_again_afterwards() -> None:
    async def main() -> None:
        queue = make_queue()
        queue.add(KEY)
        await queue.take()
        queue.add(KEY, Priority.RESYNC)
        queue.add(KEY, Priority.FAILOVER)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.take(), 10)
        queue.done(KEY)

        assert await queue.take() == KEY

    run_virtual(main())


def test_a_namespace_with_many_keys_leaves_workers_for_the_others() -> None:
    async def main() -> None:
        queue = make_queue()
        for number in range(100):
            queue.add(Key("noisy", str(number)), Priority.FAILOVER)
        # Passes that never end.
        for _ in range(8):
            assert (await queue.take()).namespace == "noisy"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.take(), 10)
        queue.add(KEY, Priority.RESYNC)
        assert await queue.take() == KEY
        # One that ends makes room for the next, also for a worker that waits already.
        waiting = asyncio.create_task(queue.take())
        await asyncio.sleep(1)
        assert not waiting.done()
        queue.done(Key("noisy", "0"))
        assert (await waiting).namespace == "noisy"

    run_virtual(main())


def test_namespaces_take_turns() -> None:
    async def main() -> None:
        queue, order = make_queue(), list[str]()
        for number in range(50):
            queue.add(Key("noisy", str(number)))
        queue.add(KEY)
        queue.add(Key("third", "a"))
        while "third" not in order:
            key = await queue.take()
            order.append(key.namespace)
            queue.done(key)
        assert order == ["noisy", KEY.namespace, "third"]

    run_virtual(main())


def test_a_key_that_becomes_urgent_is_taken_once() -> None:
    async def main() -> None:
        queue = make_queue()
        for priority in (Priority.RESYNC, Priority.FAILOVER, Priority.NORMAL):
            queue.add(KEY, priority)
        queue.add(OTHER)
        queue.forget(OTHER)
        queue.done(await queue.take())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.take(), 10)
        assert len(queue) == 0

    run_virtual(main())


def test_events_that_come_right_after_a_pass_share_the_next_one() -> None:
    async def main() -> None:
        queue, clock = make_queue(), VirtualClock()
        queue.add(KEY)
        # The first one after a rest is not kept waiting.
        assert await asyncio.wait_for(queue.take(), 0.01) == KEY
        queue.add(KEY)
        await asyncio.sleep(1)
        queue.done(KEY)
        ended = clock.monotonic()
        for _ in range(3):
            queue.add(KEY)
            await asyncio.sleep(0.05)
        assert await queue.take() == KEY
        assert clock.monotonic() == pytest.approx(ended + GAP)
        assert queue.requested_at(KEY) == pytest.approx(ended - 1)
        queue.done(KEY)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.take(), 10)

    run_virtual(main())


def test_an_event_right_after_a_pass_hides_no_urgency() -> None:
    async def main() -> None:
        queue = make_queue()
        queue.add(KEY)
        queue.done(await queue.take())
        queue.add(KEY, Priority.RESYNC)
        queue.add(KEY, Priority.NORMAL)
        queue.add(OTHER, Priority.RESYNC)
        await asyncio.sleep(GAP)
        assert [await queue.take(), await queue.take()] == [KEY, OTHER]

    run_virtual(main())


@pytest.mark.parametrize("namespace", ["shop", "another"])
def test_who_waits_for_its_first_action_goes_before_a_further_step_of_another(namespace: str) -> None:
    async def main() -> None:
        queue, order = make_queue(), list[Key]()
        first = [Key(namespace, f"first-{number}") for number in range(3)]
        queue.add(KEY)
        queue.done(await queue.take())
        await asyncio.sleep(1)
        for key in first:
            queue.add(key)
        queue.add(KEY, Priority.FAILOVER)
        # One that rested is as urgent as ever.
        queue.add(OTHER, Priority.FAILOVER)
        for _ in range(5):
            order.append(await queue.take())
            queue.done(order[-1])
        assert order[0] == OTHER
        assert order.index(first[0]) < order.index(KEY)
        if namespace == KEY.namespace:
            assert order == [OTHER, *first, KEY]

    run_virtual(main())


@pytest.mark.parametrize("delays", [(5, 2), (2, 5)])
def test_the_earliest_appointment_stands(delays: tuple[int, int]) -> None:
    async def main() -> None:
        queue, loop = make_queue(), asyncio.get_running_loop()
        for delay in delays:
            queue.add_after(KEY, timedelta(seconds=delay))
        await queue.take()
        queue.done(KEY)

        assert loop.time() == pytest.approx(2, abs=0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.take(), 60)

    run_virtual(main())


def test_a_waiting_worker_is_woken_by_an_earlier_appointment() -> None:
    async def main() -> None:
        queue, loop = make_queue(), asyncio.get_running_loop()
        queue.add_after(KEY, timedelta(hours=1))
        taking = asyncio.create_task(queue.take())
        await asyncio.sleep(1)
        queue.add_after(OTHER, timedelta(seconds=1))

        assert await taking == OTHER
        assert loop.time() == pytest.approx(2, abs=0.01)

    run_virtual(main())


def test_back_off_doubles_to_a_minute_and_begins_anew_after_a_success() -> None:
    async def main() -> None:
        queue = make_queue()
        delays = [queue.failed(KEY).total_seconds() for _ in range(30)]
        queue.succeeded(KEY)

        for count, delay in enumerate(delays):
            base = min(0.5 * 2**count, 60)
            assert 0.75 * base <= delay <= 1.25 * base
        assert queue.failed(KEY).total_seconds() < 1

    run_virtual(main())


def test_nothing_is_left_of_ten_thousand_keys() -> None:
    async def main() -> None:
        queue = make_queue()
        for number in range(10_000):
            key = Key("shop", f"s{number}")
            queue.add(key)
            queue.add(key, Priority.FAILOVER)
            queue.add_after(key, timedelta(minutes=10))
            assert await queue.take() == key
            queue.failed(key)
            queue.forget(key)
            queue.done(key)
        await asyncio.sleep(10)
        queue.add(KEY)
        queue.done(await queue.take())

        sizes = [len(value) for value in vars(queue).values() if hasattr(value, "__len__")]
        assert max(sizes) < 50

    run_virtual(main())


def test_many_passes_of_one_key_leave_one_appointment() -> None:
    async def main() -> None:
        queue = make_queue()
        for _ in range(1000):
            queue.add(KEY)
            await queue.take()
            queue.add_after(KEY, timedelta(minutes=10))
            queue.done(KEY)

        assert max(len(value) for value in vars(queue).values() if hasattr(value, "__len__")) < 50

    run_virtual(main())


def test_the_store_tells_whom_a_change_concerns() -> None:
    store = Store()
    store.put_resource(make_resource())
    store.put_resource(make_resource(key=OTHER))

    assert store.keys_of_target(TargetKind.DEPLOYMENT, "shop", "checkout") == {KEY, OTHER}
    assert store.keys_of_service("shop", "any") == {KEY, OTHER}
    store.concern(KEY, {"checkout"})
    assert store.keys_of_service("shop", "any") == {OTHER}
    assert store.keys_of_service("shop", "checkout") == {KEY, OTHER}
    store.forget(KEY)
    store.concern(KEY, {"checkout"})
    assert store.keys() == store.keys_of_service("shop", "checkout") == {OTHER}
    store.forget(OTHER)
    assert not any(getattr(store, name) for name in store.__slots__ if name not in ("most", "listed"))


def test_the_oldest_of_a_namespace_have_a_place() -> None:
    store = Store(most=2)
    young, old, elsewhere = Key("shop", "a"), Key("shop", "b"), Key("other", "c")
    for key, minutes in ((young, 3), (KEY, 2), (old, 1), (elsewhere, 9)):
        store.put_resource(make_resource(key=key, created=NOW + timedelta(minutes=minutes)))

    assert [store.has_place(key) for key in (old, KEY, young, elsewhere)] == [True, True, False, True]
    assert store.first_without_place("shop") == young and store.first_without_place("other") is None
    # A change of the resource does not move it.
    store.put_resource(make_resource(key=old, created=NOW + timedelta(minutes=1), generation=2))
    assert not store.has_place(young)
    store.forget(old)
    assert store.has_place(young) and store.first_without_place("shop") is None
    assert store.has_place(Key("shop", "unknown"))


def test_the_store_tells_status_from_everything_else() -> None:
    store, first = Store(), make_resource()
    assert store.put_resource(first)
    assert not store.put_resource(replace(first, status=Status(observed_generation=7), resource_version="9"))

    changes: list[dict[str, Any]] = [
        {"generation": 2},
        {"annotations": {"resilience.dev/restart-requested-at": "now"}},
        {"finalizers": ()},
        {"deleting_since": NOW},
        {"uid": "made-anew"},
    ]
    for change in changes:
        assert store.put_resource(replace(first, **change)), change
        assert store.put_resource(first), change

    store.forget(first.key)
    assert store.put_resource(first)


def test_the_store_tells_a_workload_that_looks_as_before() -> None:
    store, kind = Store(), TargetKind.DEPLOYMENT

    def put(name: str, face: int | None) -> frozenset[Key]:
        return store.put_workload(kind, "shop", name, target="checkout", face=face)

    assert not put("checkout", 1)
    store.put_resource(make_resource())
    # What nobody pointed at was not remembered.
    assert put("checkout", 1) == {KEY}
    assert not put("checkout", 1)
    assert put("checkout-green", 1) == put("checkout", 2) == put("checkout-green", None) == {KEY}
    assert put("checkout-green", 1) == {KEY}
    store.forget(KEY)
    assert not any(getattr(store, name) for name in store.__slots__ if name not in ("most", "listed"))


def test_the_store_tells_a_slice_that_lists_the_same() -> None:
    store, endpoint = Store(), make_endpoint(make_pod())
    for endpoints, news in (((), True), ((), False), ((endpoint,), True), ((endpoint,), False)):
        assert store.put_slice(namespace="shop", name="s", service="checkout", endpoints=endpoints) is news
    store.drop_slice("shop", "s")
    assert store.put_slice(namespace="shop", name="s", service="checkout", endpoints=(endpoint,))


def test_the_store_prunes_what_a_broken_watch_never_reported() -> None:
    store, endpoint = Store(), make_endpoint(make_pod())
    store.put_service(make_service())
    store.put_service(make_service("gone"))
    store.put_slice(namespace="shop", name="s1", service="checkout", endpoints=(endpoint,))
    store.put_slice(namespace="shop", name="s2", service="gone", endpoints=(endpoint,))
    assert store.shows("shop", "gone")

    store.keep(services=[make_service()], slices=frozenset({("shop", "s1")}), flags={})

    assert store.shows("shop", "checkout") and not store.shows("shop", "gone")
    assert store.endpoints("shop", ["checkout", "gone"]) == (endpoint,)
    store.put_slice(namespace="shop", name="s1", service="checkout", endpoints=())
    assert store.endpoints("shop", ["checkout"]) == ()
    store.drop_slice("shop", "s1")
    assert not store.shows("shop", "checkout")


def test_what_the_watches_tell_while_a_list_is_read_is_newer() -> None:
    store, endpoint, old, new = Store(), make_endpoint(make_pod()), FlagsMap({}, True), FlagsMap({"a": "true"}, True)
    store.put_service(make_service("gone"))
    store.put_flags_map(Key("shop", "silent"), old)
    with store.listing():
        store.put_service(make_service("born"))
        store.drop_service("shop", "gone")
        store.put_slice(namespace="shop", name="s", service="born", endpoints=(endpoint,))
        store.put_flags_map(KEY, new)
        listed = {KEY: old, Key("shop", "quiet"): old}
        store.keep(services=[make_service("gone"), make_service("quiet")], slices=frozenset(), flags=listed)

    assert {each.name for each in store.services("shop")} == {"born", "quiet"}
    assert store.shows("shop", "born")
    assert store.flags_map(KEY) == new
    assert store.flags_map(Key("shop", "quiet")) == old
    assert store.flags_map(Key("shop", "silent")) is None
    # The next list is believed.
    with store.listing():
        store.keep(services=[], slices=frozenset(), flags={})
    assert (store.services("shop"), store.endpoints("shop", ["born"]), store.flags_map(KEY)) == ((), (), None)


async def test_since_when_a_look_is_asked_for_is_known() -> None:
    clock = [100.0]
    queue = KeyQueue(monotonic=lambda: clock[0], workers=16)
    queue.add(KEY)
    clock[0] = 103.0
    queue.add(KEY, Priority.FAILOVER)
    assert await queue.take() == KEY
    assert queue.requested_at(KEY) == 100.0
    # Asked for again while it is under way, twice.
    clock[0] = 104.0
    queue.add(KEY)
    clock[0] = 105.0
    queue.add(KEY)
    queue.done(KEY)
    clock[0] = 105.0 + GAP
    assert await queue.take() == KEY
    assert queue.requested_at(KEY) == 104.0
    queue.done(KEY)
    # An appointment counts from when it is due.
    queue.add_after(KEY, timedelta(seconds=10))
    clock[0] = 117.0
    assert await queue.take() == KEY
    assert queue.requested_at(KEY) == 115.0 + GAP
