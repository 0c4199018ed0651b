"""Lists that are shared: how many are read, how old they may be, and who gets an error."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pytest

from resilience.adapters.kube.listed import Json
from resilience.adapters.kube.shared_lists import SharedLists
from resilience.adapters.kube.transport import Transport
from resilience.ports import Unavailable
from tests.support.listing import as_decoded
from tests.support.memory_api import matches
from tests.support.virtual_time import run_virtual

PODS: Final = "/api/v1/namespaces/shop/pods"
SECOND: Final = 1.0


def pod(pod_name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": pod_name, "labels": labels}}


@dataclass(slots=True)
class SlowApi:
    """Each list takes a second, and shows what was there when it began."""

    items: Sequence[dict[str, Any]] = ()
    fails: list[Exception] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    began: list[float] = field(default_factory=list)
    ended: int = 0

    async def list(self, path: str, *, labels: str = "") -> Any:
        self.asked.append(labels)
        self.began.append(asyncio.get_running_loop().time())
        found = [each for each in self.items if matches(labels, each)]
        await asyncio.sleep(SECOND)
        self.ended += 1
        if self.fails:
            raise self.fails.pop()
        return found

    async def listed(
        self, path: str, view: Any, *, labels: str = "", shape: Any = Json, most: int | None = None
    ) -> Any:
        return as_decoded(await self.list(path, labels=labels), view, shape)


def name(raw: dict[str, Any]) -> str:
    return str(raw["metadata"]["name"])


def names(found: Sequence[dict[str, Any]]) -> list[str]:
    return [name(each) for each in found]


def run(test: Callable[[SlowApi, SharedLists], Awaitable[None]], **api: Any) -> SlowApi:
    made = SlowApi(**api)

    async def main() -> None:
        await test(made, SharedLists(transport=cast(Transport, made)))

    run_virtual(main())
    return made


def test_who_asks_while_a_list_is_read_shares_the_next_one() -> None:
    async def test(api: SlowApi, lists: SharedLists) -> None:
        async def ask(at: float) -> list[str]:
            await asyncio.sleep(at)
            return names((await lists.list(PODS)).all())

        asked = [asyncio.create_task(ask(at)) for at in (0, 0, 0.2, 0.5, 0.9)]
        await asyncio.sleep(0.6)
        api.items = [pod("new")]
        # The last one asked after the pod was there; those before it share its list, and lose nothing by that.
        assert await asyncio.gather(*asked) == [[], [], ["new"], ["new"], ["new"]]

    assert run(test).began == [0.0, SECOND]


def test_nobody_gets_a_list_that_began_before_the_question() -> None:
    async def test(api: SlowApi, lists: SharedLists) -> None:
        async def ask(at: float) -> bool:
            await asyncio.sleep(at)
            asked, before = asyncio.get_running_loop().time(), len(api.began)
            await lists.list(PODS)
            return max(api.began[before:], default=-1.0) >= asked

        assert all(await asyncio.gather(*(ask(step * 0.07) for step in range(60))))

    assert len(run(test).began) <= 7


def test_an_error_goes_to_all_who_share_the_list_and_to_nobody_else() -> None:
    async def test(api: SlowApi, lists: SharedLists) -> None:
        first = [asyncio.create_task(lists.list(PODS)) for _ in range(2)]
        await asyncio.sleep(0.1)
        second = asyncio.create_task(lists.list(PODS))
        answers = await asyncio.gather(*first, return_exceptions=True)
        assert [type(each) for each in answers] == [Unavailable, Unavailable]
        assert (await second).views == ()

    run(test, fails=[Unavailable("away")])


@pytest.mark.parametrize("gives_up_at", [0.0, 0.1, 1.5])
def test_who_gives_up_takes_nothing_from_the_others(gives_up_at: float) -> None:
    async def test(api: SlowApi, lists: SharedLists) -> None:
        begun = asyncio.create_task(lists.list(PODS))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        impatient, patient = (asyncio.create_task(lists.list(PODS)) for _ in range(2))
        await asyncio.sleep(gives_up_at)
        impatient.cancel()
        assert names((await patient).views) == names((await begun).views) == ["a"]
        assert impatient.cancelled()

    assert run(test, items=[pod("a")]).ended == 2


def test_a_list_that_nobody_waits_for_any_more_is_not_begun() -> None:
    async def test(api: SlowApi, lists: SharedLists) -> None:
        begun = asyncio.create_task(lists.list(PODS))
        await asyncio.sleep(0.1)
        waiting = [asyncio.create_task(lists.list(PODS)) for _ in range(3)]
        await asyncio.sleep(0.1)
        for each in waiting:
            each.cancel()
        await begun
        await asyncio.sleep(1)
        # The next one who asks is not held up by them.
        await lists.list(PODS)

    assert run(test).began == [0.0, 2.0]


def test_a_view_is_made_once_for_all() -> None:
    made: list[str] = []

    def view(raw: dict[str, Any]) -> str:
        made.append(name(raw))
        return name(raw)

    async def test(api: SlowApi, lists: SharedLists) -> None:
        found = await asyncio.gather(*(lists.views(PODS, view) for _ in range(5)))
        assert [each.views for each in found] == 5 * [("a", "b")]

    run(test, items=[pod("a"), pod("b")])
    assert made == ["a", "b"]


HELM: Final = [{"name": "web", "instance": value} for value in ("a", "b")]


@pytest.mark.parametrize(
    ("selectors", "asked"),
    [
        ([{"app": "a"}], ["app=a"]),
        ([{"app": "a"}, {"app": "b"}, {"app": "a"}], ["app in (a,b)"]),
        (HELM, ["instance in (a,b),name=web"]),
        ([{"app": "a"}, {"tier": "b"}], ["app=a", "tier=b"]),
        ([{"x": "1", "y": "1"}, {"x": "2", "y": "2"}], ["x in (1,2)"]),
    ],
    ids=["one", "many", "a common label", "other keys", "no common label"],
)
def test_selectors_of_the_same_keys_are_one_request(selectors: list[dict[str, str]], asked: list[str]) -> None:
    every = [*selectors, {"x": "1", "y": "2"}, {"app": "c"}]
    items = [pod(str(number), **labels, more="z") for number, labels in enumerate(every)]

    async def test(api: SlowApi, lists: SharedLists) -> None:
        found = await asyncio.gather(*(lists.selected(PODS, each) for each in selectors))
        for selector, answer in zip(selectors, found, strict=True):
            wanted = [str(number) for number, labels in enumerate(every) if selector.items() <= labels.items()]
            assert names(answer) == wanted

    assert sorted(run(test, items=items).asked) == asked


def test_a_request_names_at_most_fifty_values() -> None:
    items = [pod(str(number), app=f"app-{number}") for number in range(120)]

    async def test(api: SlowApi, lists: SharedLists) -> None:
        found = await asyncio.gather(*(lists.selected(PODS, each["metadata"]["labels"]) for each in items))
        assert [names(each) for each in found] == [[str(number)] for number in range(120)]

    assert [each.count(",") + 1 for each in run(test, items=items).asked] == [50, 50, 20]
