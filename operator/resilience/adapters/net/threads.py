"""Threads for work that would hold the event loop up, in shares: one namespace never has all of them.

Work that hangs cannot be cancelled, so a thread is only free when its work has ended. This module must not judge
results.
"""

import asyncio
import errno
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from resilience.ports.on_behalf import beneficiaries

# Seconds; work that lasts longer is slow, and so is its next run.
_PROMPT: Final = 1.0
_KNOWN_SLOW: Final = 4096


@dataclass(slots=True, eq=False)
class _Job:
    """One piece of work, for everybody who waits for it. `charged`: the namespace whose share it uses, once it runs."""

    key: Hashable
    work: Callable[[], Any]
    result: "asyncio.Future[Any]"
    namespaces: frozenset[str] = frozenset()
    waiting: int = 0
    charged: str | None = None
    began: float = 0.0


@dataclass(slots=True)
class SharedThreads:
    """At most `total` threads, of which the work of one namespace uses at most `share`; slow work uses half of both.

    Equal work that is in flight runs once. Threads begin with their work and end with it, and do not hold up the end of
    the process.
    """

    name: str
    total: int
    share: int
    # In the order in which they came.
    _jobs: dict[Hashable, _Job] = field(default_factory=dict)
    # Hashes of the keys only: a key may be a secret.
    _slow: dict[int, None] = field(default_factory=dict)

    async def run(self, key: Hashable, work: Callable[[], Any]) -> Any:
        """The result of `work`, or its error. Equal keys mean equal work. Set a time-out: its turn may never come."""
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(key, work, asyncio.get_running_loop().create_future())
            # Nobody may be left to take an error.
            job.result.add_done_callback(lambda result: result.cancelled() or result.exception())
        # Whoever joins brings a share along: work that waits for a namespace in excess need not wait for another one.
        job.namespaces |= beneficiaries()
        job.waiting += 1
        try:
            self._begin_what_may()
            return await asyncio.shield(job.result)
        finally:
            job.waiting -= 1
            if not job.waiting and job.charged is None:
                del self._jobs[key]

    def _begin_what_may(self) -> None:
        for job in list(self._jobs.values()):
            if job.charged is None and (namespace := self._payer(job)) is not None:
                loop = asyncio.get_running_loop()
                job.charged, job.began = namespace, loop.time()
                try:
                    threading.Thread(target=_run, args=(job, loop, self._ended), name=self.name, daemon=True).start()
                except RuntimeError:
                    loop.call_soon(self._ended, job, None, OSError(errno.EAGAIN, "no thread could be started"))

    def _payer(self, job: _Job) -> str | None:
        """The namespace with the most room for it; None while there is no room."""
        running = [other for other in self._jobs.values() if other.charged is not None]
        used = {name: [other for other in running if other.charged == name] for name in job.namespaces}
        namespace = min(used, key=lambda name: len(used[name]))
        has_room = self._has_room(job, running, self.total) and self._has_room(job, used[namespace], self.share)
        return namespace if has_room else None

    def _has_room(self, job: _Job, running: Sequence[_Job], most: int) -> bool:
        # What is slow leaves half to what is not, within the share of a namespace, too.
        is_full = len(running) >= most
        return not is_full and (not self._is_slow(job) or sum(map(self._is_slow, running)) < (most + 1) // 2)

    def _is_slow(self, job: _Job) -> bool:
        late = job.charged is not None and asyncio.get_running_loop().time() - job.began > _PROMPT
        return late or hash(job.key) in self._slow

    def _ended(self, job: _Job, result: Any, error: BaseException | None) -> None:
        del self._jobs[job.key]
        self._slow.pop(hash(job.key), None)
        if asyncio.get_running_loop().time() - job.began > _PROMPT:
            self._slow[hash(job.key)] = None
            if len(self._slow) > _KNOWN_SLOW:
                del self._slow[next(iter(self._slow))]
        if error is not None:
            job.result.set_exception(error)
        else:
            job.result.set_result(result)
        self._begin_what_may()


def _run(job: _Job, loop: asyncio.AbstractEventLoop, ended: Callable[[_Job, Any, BaseException | None], None]) -> None:
    result, failure = None, None
    try:
        result = job.work()
    except BaseException as error:
        # Whatever it is, somebody waits for it.
        failure = error
    with suppress(RuntimeError):
        # The loop may be closed by now.
        loop.call_soon_threadsafe(ended, job, result, failure)
