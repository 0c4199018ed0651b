"""The operator at work in a busy namespace, in virtual time: what passes and requests a burst of releases costs."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from tests.support.busy_api import BusyApi, Object
from tests.support.busy_controllers import Namespace
from tests.support.operator_bench import OperatorBench

SPEC: Object = {
    "profile": "Production",
    "probes": {"management": "Observe"},
    "rollout": {"strategy": "BlueGreen", "blueGreen": {"warmPeriod": "5s"}},
}
_MANAGED = "resilience.dev/managed"
_BY_LABEL = ("services", "endpointslices", "deployments")


@dataclass
class BusyOperator:
    """`bench` watches and works in `ns`."""

    api: BusyApi
    ns: Namespace
    bench: OperatorBench

    @classmethod
    def make(cls, count: int) -> Self:
        """One namespace with so many services; call it in the loop."""
        api = BusyApi()
        ns = Namespace(api, count)
        made = cls(api, ns, OperatorBench(api))
        for plural, handle in made.bench.handlers().items():
            api.watches[plural] = made._watch(plural, handle)
        ns.fill(SPEC)
        return made

    def _watch(self, plural: str, handle: Any) -> Any:
        shown: set[str] = set()

        def tell(kind: str, raw: Object) -> None:
            meta = raw["metadata"]
            if plural in _BY_LABEL:
                # A watch by label calls it a deletion when the label goes.
                is_shown, is_ours = meta["name"] in shown, _MANAGED in (meta.get("labels") or {})
                if not is_ours and not is_shown:
                    return
                kind = "DELETED" if not is_ours else kind
                (shown.discard if kind == "DELETED" else shown.add)(meta["name"])
            event = {"type": kind, "object": raw}
            told = handle(
                event=event,
                namespace=meta.get("namespace"),
                name=meta["name"],
                annotations=meta.get("annotations") or {},
            )
            self._tasks.add(task := asyncio.get_running_loop().create_task(told))
            task.add_done_callback(self._tasks.discard)

        return tell

    def __post_init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Controllers and operator work while the context is open."""
        working = [asyncio.create_task(self.ns.run()), asyncio.create_task(self.bench.controller.run(16))]
        try:
            yield
        finally:
            for task in working:
                task.cancel()
            await asyncio.wait(working)

    async def settled(self, names: Iterable[str]) -> float:
        """Waits until these are adopted and at rest; the time."""
        await self._until(lambda: all(self._at_rest(name) for name in names))
        return asyncio.get_running_loop().time()

    async def released(self, names: Iterable[str], version: str) -> float:
        """Waits until these are at rest and serve this version; the time."""
        image = f"app:{version}"
        await self._until(lambda: all(self._at_rest(name) and self.ns.serving(name) == {image} for name in names))
        return asyncio.get_running_loop().time()

    async def _until(self, done: Any, *, seconds: float = 120) -> None:
        async with asyncio.timeout(seconds):
            while not done():  # noqa: ASYNC110 - it looks at objects, nobody tells
                await asyncio.sleep(0.1)

    def _at_rest(self, name: str) -> bool:
        status = self.api.held[self.ns.resources][name].get("status") or {}
        serving = (status.get("rollout") or {}).get("serving") or {}
        target = self.api.held[f"{self.ns.apps}/deployments"][name]
        is_alone = f"{name}-green" not in self.api.held[f"{self.ns.apps}/deployments"]
        image = target["spec"]["template"]["spec"]["containers"][0]["image"]
        return bool(
            is_alone
            and target["spec"].get("paused")
            and serving.get("image") == image
            and status.get("phase") == "Running"
        )
