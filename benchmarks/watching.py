"""Times of what happens in the cluster, seen by watches: to ask again and again would be work for the API server."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from kubernetes.aio import client

Json = dict[str, Any]
# Seconds that the API server keeps a watch open for.
_LONGEST: Final = "3600"


@dataclass(slots=True)
class Diary:
    """Monotonic times by service: of the change, of the first object made for it, of the end of its release."""

    changed: dict[str, float] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def note_made(self, event: Mapping[str, Any]) -> None:
        """An event of a Deployment or ReplicaSet, which has its service's name as label `app` of its pods."""
        if event["type"] != "ADDED":
            return
        labels = event["object"]["spec"]["template"]["metadata"].get("labels") or {}
        if (name := labels.get("app", "")) in self.changed:
            self.made.setdefault(name, time.monotonic())

    def note_ended(self, name: str) -> None:
        """The release of a service is over."""
        if name in self.changed:
            self.ended.setdefault(name, time.monotonic())
            self._news.set()

    def first(self) -> tuple[float, ...]:
        """Seconds from each change to the first object."""
        return tuple(at - self.changed[name] for name, at in sorted(self.made.items()))

    async def all_ended(self, *, seconds: float) -> None:
        """Waits until the release of every changed service is over. Raises TimeoutError with the number that is not."""
        try:
            async with asyncio.timeout(seconds):
                while len(self.ended) < len(self.changed):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            words = f"{len(self.changed) - len(self.ended)} of {len(self.changed)} releases are not over"
            raise TimeoutError(f"{words} after {seconds:.0f} s") from error


@contextlib.asynccontextmanager
async def following(
    api: client.ApiClient, path: str, note: Callable[[Json], None], *, labels: str = ""
) -> AsyncIterator[None]:
    """Notes every event of a collection that comes meanwhile. Raises what ended the watch early."""
    listed = await _ask(api, path, limit="1", labelSelector=labels)
    version = json.loads(await listed.content.read())["metadata"]["resourceVersion"]
    answer = await _ask(api, path, watch="true", resourceVersion=version, labelSelector=labels, timeoutSeconds=_LONGEST)
    task = asyncio.create_task(_read(answer, note))
    try:
        yield
        if task.done():
            task.result()
            raise RuntimeError(f"the watch of {path} ended early")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
        answer.close()


async def _read(answer: aiohttp.ClientResponse, note: Callable[[Json], None]) -> None:
    async for line in answer.content:
        event = json.loads(line)
        if event["type"] == "ERROR":
            raise RuntimeError(f"the watch ended: {event['object']}")
        note(event)


async def _ask(api: client.ApiClient, path: str, **query: str) -> aiohttp.ClientResponse:
    _, url, headers, _, _ = await api.param_serialize(
        "GET",
        path,
        query_params=[(name, value) for name, value in query.items() if value],
        header_params={"Accept": "application/json"},
        auth_settings=["BearerToken"],
    )
    without_end = aiohttp.ClientTimeout(total=None)
    response = await api.call_api("GET", url, header_params=headers, _request_timeout=without_end)
    answer: aiohttp.ClientResponse = response.response
    answer.raise_for_status()
    return answer
