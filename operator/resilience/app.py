"""Start and end of the parts: the program's commands. No rule of the product is here."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Collection, Coroutine
from typing import Any, Final

import kopf
import stamina
import structlog

from resilience.adapters.kube.transport import Transport
from resilience.adapters.live_settings import SettingsFile
from resilience.adapters.process import end_within
from resilience.config import Settings
from resilience.handlers import flags, lifecycle, resources
from resilience.handlers.watch_log import count_watches
from resilience.parts import Parts, assemble
from resilience.ports import Unavailable
from resilience.runtime.uninstall import Uninstaller
from resilience.web import app as web
from resilience.web import flags as web_flags

log = structlog.get_logger(__name__)

OLDEST_MINOR: Final = 32
_CONFIRM_SECONDS: Final = 5.0
# Shorter than the Job's own deadline in the chart, so that the command can still report what is left.
_RELEASE_PATIENCE: Final = 200.0
# For the end of the work, in seconds: shorter than the 30 that the kubelet gives a pod.
_LONGEST_END: Final = 20.0


class TooOld(Exception):
    """The cluster is older than the oldest version that the operator supports."""


async def run(settings: Settings) -> int:
    """Serves, waits for leadership, works until stopped or until leadership is lost; returns the exit code.

    kopf's watches still run when it returns, and the process must end without waiting for them. They only enqueue, so
    nothing is cut off; and a watch that is cancelled while the API server does not answer may go on for ever (kopf
    1.45 takes the cancellation for the end of its pause).
    """
    stop = asyncio.Event()
    _listen_for_signals(stop)
    async with assemble(settings) as parts:
        served = web.create_app(health=parts, metrics=parts.metrics)
        async with web.serve(served, settings.http_port), _live_settings(parts):
            if not await _first(_reach_api(parts), stop.wait()):
                return 0
            async with _flags(parts, stop) as watching:
                await _in_turn(parts, stop, watching)
    return 0 if stop.is_set() else 1


@contextlib.asynccontextmanager
async def _live_settings(parts: Parts) -> AsyncIterator[None]:
    """Applies changes of the settings file, leader or not."""
    if not parts.settings.settings_file:
        yield
        return
    file = SettingsFile(parts.settings.settings_file, parts.take_over)
    watching = asyncio.create_task(file.run(), name="settings")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _in_turn(parts: Parts, stop: asyncio.Event, watching: "asyncio.Task[None]") -> None:
    """Waits for leadership, then leads."""
    if not await _first(parts.lease.acquire(), _either(stop.wait(), watching)):
        if not stop.is_set():
            _log_end(watching)
        return
    parts.metrics.leader(True)
    try:
        await _lead(parts, stop, watching)
    finally:
        await parts.lease.give_up()


@contextlib.asynccontextmanager
async def _flags(parts: Parts, stop: asyncio.Event) -> "AsyncIterator[asyncio.Task[None]]":
    """Work of every replica, leading or not: follow the flags and serve them to readers. Yields the watch."""
    registry = kopf.OperatorRegistry()
    flags.register(registry, queue=parts.state.queue, store=parts.state.store, board=parts.board)
    watching = await _begin_watch(parts, registry, stop, name="watch of flags")
    confirming = asyncio.create_task(_confirm(parts), name="flags confirmed")
    settings = parts.settings
    app = web_flags.create_app(board=parts.board, tokens=parts.tokens, readers=settings.flags_readers)
    try:
        async with web.serve(app, settings.flags_port) if settings.flags_port else contextlib.nullcontext():
            yield watching
    finally:
        end_within(seconds=_LONGEST_END)
        confirming.cancel()


async def _confirm(parts: Parts) -> None:
    """Confirms the flags while there is a leader, which would have published changes."""
    while True:
        if parts.lease.followed():
            parts.board.confirm()
        await asyncio.sleep(_CONFIRM_SECONDS)


def _listen_for_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _lead(parts: Parts, stop: asyncio.Event, flag_watch: "asyncio.Task[None]") -> None:
    """Runs everything that only the leader does, until it is stopped or a part ends.

    The end of any part ends the process: a fresh process is simpler than a repaired one.
    """
    registry = kopf.OperatorRegistry()
    resources.register(registry, queue=parts.state.queue, store=parts.state.store, couriers=parts.couriers)
    watching = await _begin_watch(parts, registry, stop, name="watches")
    tasks = [
        asyncio.create_task(parts.lag.run(), name="loop lag"),
        asyncio.create_task(parts.state.checks.run(), name="checks"),
        asyncio.create_task(parts.controller.run(parts.settings.workers), name="controller"),
        asyncio.create_task(parts.resync.run(), name="resync"),
        asyncio.create_task(parts.couriers.run(), name="alerts"),
        asyncio.create_task(parts.lease.keep(), name="lease"),
    ]
    done, _ = await asyncio.wait(
        [watching, flag_watch, *tasks, asyncio.create_task(stop.wait(), name="stop")],
        return_when=asyncio.FIRST_COMPLETED,
    )
    end_within(seconds=_LONGEST_END)
    if not stop.is_set():
        for task in done:
            _log_end(task)
    await end_work(parts, tasks)
    await parts.sentinels.close()
    await parts.network.close()


def _log_end(task: "asyncio.Task[Any]") -> None:
    """Logs a part that should not have ended; kopf cancels what began after it when one of its own tasks fails."""
    error = "still ending" if not task.done() else "cancelled" if task.cancelled() else repr(task.exception())
    log.error("ended", part=task.get_name(), error=error)


async def end_work(parts: Parts, tasks: Collection["asyncio.Task[None]"]) -> None:
    """Ends everything that writes, each part at its next await, then hands the Lease over.

    Not earlier, or two versions would write during an upgrade.
    """
    parts.board.close()
    for task in tasks:
        task.cancel()
    await parts.state.traffic.close()
    await asyncio.wait(tasks)
    await parts.lease.give_up()


async def _begin_watch(
    parts: Parts, registry: kopf.OperatorRegistry, stop: asyncio.Event, *, name: str
) -> "asyncio.Task[None]":
    """Starts the watches, and returns when they are ready or have ended."""
    ready = asyncio.Event()
    watching = asyncio.create_task(_watch(parts, registry, stop, ready=ready), name=name)
    await asyncio.wait([watching, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    return watching


async def _watch(parts: Parts, registry: kopf.OperatorRegistry, stop: asyncio.Event, *, ready: asyncio.Event) -> None:
    lifecycle.register_login(registry, server=parts.transport.server)
    count_watches(parts.metrics.watch_began)
    namespaces = await parts.cluster.readable_namespaces()
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=lifecycle.settings(clusterwide=not parts.settings.namespaces),
        ready_flag=ready,
        clusterwide=not parts.settings.namespaces,
        namespaces=namespaces,
        # By default kopf reads the name of the user, who has none in a container.
        identity=parts.settings.pod_name,  # type: ignore[arg-type]
    )
    # kopf takes over the signals when it starts; the operator takes them back: the order of the shutdown matters.
    _listen_for_signals(stop)
    await kopf.run_tasks(tasks, ignored=others)


async def _first(work: Coroutine[None, None, None], stop: Coroutine[None, None, object]) -> bool:
    """The work ended before the stop came. Raises the exception of the work."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(work), asyncio.create_task(stop)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    if tasks[0].done():
        tasks[0].result()
        return True
    return False


async def _either(stop: Coroutine[None, None, object], task: "asyncio.Task[None]") -> None:
    """Waits for the first of the two to end."""
    stopping = asyncio.create_task(stop)
    await asyncio.wait([stopping, task], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


async def _reach_api(parts: Parts) -> None:
    """Waits for the API server, however long it is away, and checks its version."""
    async for attempt in stamina.retry_context(on=Unavailable, attempts=None, timeout=None, wait_max=5.0):
        with attempt:
            await _check_version(parts.transport)


async def _check_version(transport: Transport) -> None:
    answer = await transport.get("/version")
    minor = int("".join(digit for digit in str(answer.get("minor", "0")) if digit.isdigit()) or 0)
    if minor < OLDEST_MINOR:
        raise TooOld(f"this operator needs Kubernetes 1.{OLDEST_MINOR} or newer; the cluster is {answer['gitVersion']}")


async def release(settings: Settings) -> int:
    """Stops the operator, then hands every workload back; returns the exit code."""
    async with assemble(settings) as parts:
        await parts.cluster.stop_deployment(namespace=settings.pod_namespace, name=settings.operator_deployment)
        await parts.lease.acquire()
        keeping = asyncio.create_task(parts.lease.keep())
        releaser = Uninstaller(
            cluster=parts.cluster,
            observer=parts.observer,
            executor=parts.executor,
            clock=parts.clock,
            say=lambda sentence: log.info(sentence),
        )
        left = await releaser.run(patience=_RELEASE_PATIENCE)
        keeping.cancel()
        await parts.lease.give_up()
    for key in left:
        log.error("could not be given back", key=str(key))
    return 1 if left else 0
