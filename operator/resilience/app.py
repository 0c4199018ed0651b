"""Wiring: which parts there are and how they live and die together. No rule of the product is here."""

import asyncio
import contextlib
import ipaddress
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import kopf
import stamina
import structlog

from resilience import __version__
from resilience.adapters.address import AddressGuard
from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.checks.credentials import Credentials
from resilience.adapters.checks.redis_connections import RedisConnections
from resilience.adapters.checks.redis_dead_letters import RedisDeadLetters
from resilience.adapters.checks.sentinel_events import SentinelEvents
from resilience.adapters.clock import SystemClock
from resilience.adapters.drain import HttpDrainer, HttpProber
from resilience.adapters.http import HttpClient
from resilience.adapters.kube.calm import ApiCalm
from resilience.adapters.kube.cluster import KubeCluster
from resilience.adapters.kube.contents import KubeContents
from resilience.adapters.kube.lease import KubeLease
from resilience.adapters.kube.reader import KubeSecrets
from resilience.adapters.kube.tokens import KubeTokens
from resilience.adapters.kube.transport import Transport
from resilience.adapters.kube.usage import KubeUsage
from resilience.adapters.looplag import LoopLag
from resilience.adapters.metrics import PrometheusMetrics
from resilience.adapters.prometheus import PrometheusClient
from resilience.config import Settings
from resilience.core.flags import Publication
from resilience.core.storm import Caps
from resilience.handlers import flags, lifecycle, resources
from resilience.ports import Unavailable
from resilience.runtime.checks import CheckRunner
from resilience.runtime.controller import Controller
from resilience.runtime.executor import Executor
from resilience.runtime.flag_board import FlagBoard
from resilience.runtime.measuring import MeasuringChecker
from resilience.runtime.observer import Observer
from resilience.runtime.queue import KeyQueue
from resilience.runtime.release import Releaser
from resilience.runtime.replays import Replays
from resilience.runtime.restart_log import RestartLog
from resilience.runtime.resync import Resync
from resilience.runtime.sentinels import SentinelWatch
from resilience.runtime.store import Store
from resilience.runtime.storm import StormControl
from resilience.runtime.traffic import TrafficMeter
from resilience.runtime.usage import UsageCache
from resilience.web import app as web
from resilience.web import flags as web_flags

log = structlog.get_logger(__name__)

OLDEST_MINOR: Final = 32
_LOOP_STUCK: Final = 30.0
_CONFIRM_SECONDS: Final = 5.0
# Shorter than the Job's own deadline in the chart, or it could not say what is left.
_RELEASE_PATIENCE: Final = 200.0


class TooOld(Exception):
    """The cluster is older than what the operator relies on."""


@dataclass(slots=True)
class Parts:
    """Everything that is made once."""

    settings: Settings
    clock: SystemClock
    metrics: PrometheusMetrics
    lag: LoopLag
    lease: KubeLease
    cluster: KubeCluster
    transport: Transport
    queue: KeyQueue
    store: Store
    storm: StormControl
    board: FlagBoard
    tokens: KubeTokens
    network: NetworkChecker
    sentinels: SentinelWatch
    checks: CheckRunner
    traffic: TrafficMeter
    observer: Observer
    executor: Executor
    controller: Controller
    resync: Resync

    def problems(self) -> list[str]:
        """Why the process should be restarted; only the leader has loops that can be stuck."""
        if not self.lease.held():
            return []
        now, found = self.clock.monotonic(), []
        if now - self.controller.last_turn > _LOOP_STUCK:
            found.append(f"the controller's loop has not turned for {now - self.controller.last_turn:.0f} s")
        silence = 3 * self.settings.resync_interval.total_seconds()
        if now - self.resync.last_success > silence:
            found.append(f"nothing could be listed for {now - self.resync.last_success:.0f} s")
        return found


@contextlib.asynccontextmanager
async def assemble(settings: Settings) -> AsyncIterator[Parts]:
    """Makes all parts over one connection to the API server."""
    metrics, clock, lag = PrometheusMetrics(version=__version__), SystemClock(), LoopLag()
    calm = ApiCalm(monotonic=clock.monotonic)

    def observe(verb: str, status: int, seconds: float) -> None:
        metrics.api_request(verb, str(status) if status else "none", seconds)
        calm.answered(0 < status < 500)

    async with Transport.connect(timeout=settings.api_timeout, observer=observe) as transport:
        yield _parts(settings, transport, metrics=metrics, clock=clock, lag=lag, calm=calm)


def _parts(
    settings: Settings,
    transport: Transport,
    *,
    metrics: PrometheusMetrics,
    clock: SystemClock,
    lag: LoopLag,
    calm: ApiCalm,
) -> Parts:
    client = HttpClient(guard=_address_guard(settings, transport), version=__version__)
    cluster = KubeCluster(transport=transport, namespaces=settings.namespaces, instance=settings.pod_name)
    lease = KubeLease(
        transport=transport,
        namespace=settings.pod_namespace,
        name=settings.lease_name,
        identity=settings.pod_name,
        monotonic=clock.monotonic,
        calm=calm,
    )
    secrets = KubeSecrets(transport=transport)
    queue, store, drainer = KeyQueue(monotonic=clock.monotonic), Store(), HttpDrainer(client=client)
    credentials = Credentials(secrets=secrets, monotonic=clock.monotonic)
    network = NetworkChecker(
        client=client,
        loop_lag=lag.worst,
        credentials=credentials,
        prometheus=_prometheus(settings),
    )
    checks = CheckRunner(
        checker=MeasuringChecker(
            network=network,
            usage=UsageCache(
                usage=KubeUsage(transport=transport), monotonic=clock.monotonic, period=settings.usage_interval
            ),
            contents=KubeContents(transport=transport, lease=(settings.pod_namespace, settings.lease_name)),
            now=clock.now,
        ),
        metrics=metrics,
        clock=clock,
        on_transition=queue.add,
        concurrency=settings.check_concurrency,
    )
    redis = RedisConnections(guard=client.guard, credentials=credentials)
    sentinels = SentinelWatch(
        sentinels=SentinelEvents(connections=redis),
        on_lost=checks.lost,
        monotonic=clock.monotonic,
    )
    checks.on_places = sentinels.sync
    traffic = TrafficMeter(prober=HttpProber(client=client), cap=settings.verify_requests_per_second)
    caps = Caps(cluster=settings.policy_restarts, namespace=settings.policy_restarts_per_namespace)
    storm = StormControl(caps=caps, clock=clock, on_turn=queue.add)
    restarts = RestartLog(now=clock.now)
    replays = Replays(RedisDeadLetters(connections=redis))
    board = FlagBoard(now=clock.now, on_shown=lambda said: _shown(metrics, clock, said))
    observer = Observer(
        cluster=cluster,
        drainer=drainer,
        store=store,
        checks=checks,
        traffic=traffic,
        calm=calm,
        storm=storm,
        restarts=restarts,
        replays=replays,
        refused=settings.refuses,
    )
    executor = Executor(
        cluster=cluster,
        observer=observer,
        drainer=drainer,
        secrets=secrets,
        leadership=lease,
        metrics=metrics,
        clock=clock,
        replays=replays,
    )
    controller = Controller(
        queue=queue,
        cluster=cluster,
        observer=observer,
        executor=executor,
        checks=checks,
        traffic=traffic,
        store=store,
        storm=storm,
        restarts=restarts,
        replays=replays,
        leadership=lease,
        metrics=metrics,
        clock=clock,
    )
    resync = Resync(
        cluster=cluster,
        marked=cluster.marked,
        controller=controller,
        queue=queue,
        store=store,
        storm=storm,
        interval=settings.resync_interval,
        monotonic=clock.monotonic,
    )
    return Parts(
        settings=settings,
        clock=clock,
        metrics=metrics,
        lag=lag,
        lease=lease,
        cluster=cluster,
        transport=transport,
        queue=queue,
        store=store,
        storm=storm,
        board=board,
        tokens=KubeTokens(transport=transport, monotonic=clock.monotonic, wall=time.time),
        network=network,
        sentinels=sentinels,
        checks=checks,
        traffic=traffic,
        observer=observer,
        executor=executor,
        controller=controller,
        resync=resync,
    )


def _shown(metrics: PrometheusMetrics, clock: SystemClock, said: Publication) -> None:
    metrics.told(channel="http", seconds=(clock.now() - said.updated_at).total_seconds())


def _prometheus(settings: Settings) -> PrometheusClient | None:
    if not settings.prometheus_url:
        return None
    return PrometheusClient(
        url=settings.prometheus_url,
        token_file=settings.prometheus_token_file,
        ca_file=settings.prometheus_ca_file,
        version=__version__,
    )


def _address_guard(settings: Settings, transport: Transport) -> AddressGuard:
    host = urlsplit(transport.server).hostname or ""
    api_server = []
    with contextlib.suppress(ValueError):
        api_server.append(ipaddress.ip_address(host))
    allowed = [ipaddress.ip_network(each, strict=False) for each in settings.allowed_networks]
    return AddressGuard(api_server=api_server, allowed=allowed)


async def run(settings: Settings) -> int:
    """Serves, waits for leadership, works until asked to stop or leadership is lost; returns the exit code."""
    stop = asyncio.Event()
    _listen_for_signals(stop)
    async with assemble(settings) as parts:
        served = web.create_app(health=parts, metrics=parts.metrics)
        async with web.serve(served, settings.http_port):
            if not await _first(_reach_api(parts), stop.wait()):
                return 0
            async with _flags(parts, stop) as watching:
                await _in_turn(parts, stop, watching)
    return 0 if stop.is_set() else 1


async def _in_turn(parts: Parts, stop: asyncio.Event, watching: "asyncio.Task[None]") -> None:
    """Waits for leadership, then leads."""
    if not await _first(parts.lease.acquire(), _either(stop.wait(), watching)):
        return
    parts.metrics.leader(True)
    try:
        await _lead(parts, stop, watching)
    finally:
        await parts.lease.give_up()


@contextlib.asynccontextmanager
async def _flags(parts: Parts, stop: asyncio.Event) -> "AsyncIterator[asyncio.Task[None]]":
    """What every replica does, leading or not: follow the flags and tell whoever asks. Gives the watch."""
    enough, ready = asyncio.Event(), asyncio.Event()
    registry = kopf.OperatorRegistry()
    flags.register(registry, queue=parts.queue, store=parts.store, board=parts.board)
    watching = asyncio.create_task(_watch(parts, registry, stop=enough, ready=ready), name="watch of flags")
    await asyncio.wait([watching, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    _listen_for_signals(stop)
    confirming = asyncio.create_task(_confirm(parts), name="flags confirmed")
    settings = parts.settings
    app = web_flags.create_app(board=parts.board, tokens=parts.tokens, readers=settings.flags_readers)
    try:
        async with web.serve(app, settings.flags_port) if settings.flags_port else contextlib.nullcontext():
            yield watching
    finally:
        confirming.cancel()
        enough.set()
        await asyncio.wait([watching])


async def _confirm(parts: Parts) -> None:
    """While somebody leads, changes would have been told."""
    while True:
        if parts.lease.followed():
            parts.board.confirm()
        await asyncio.sleep(_CONFIRM_SECONDS)


def _listen_for_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _lead(parts: Parts, stop: asyncio.Event, flag_watch: "asyncio.Task[None]") -> None:
    """All that only the leader does, until it is asked to stop or a part ends.

    The end of any part ends the process: a fresh one is simpler than a mended one.
    """
    enough, ready = asyncio.Event(), asyncio.Event()
    registry = kopf.OperatorRegistry()
    resources.register(registry, queue=parts.queue, store=parts.store)
    watching = asyncio.create_task(_watch(parts, registry, stop=enough, ready=ready), name="watches")
    # kopf takes the signals for itself when it starts; they are ours, for the order in which things end matters.
    await asyncio.wait([watching, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    _listen_for_signals(stop)
    works = [
        asyncio.create_task(parts.lag.run(), name="loop lag"),
        asyncio.create_task(parts.checks.run(), name="checks"),
        asyncio.create_task(parts.controller.run(parts.settings.workers), name="controller"),
        asyncio.create_task(parts.resync.run(), name="resync"),
        asyncio.create_task(parts.lease.keep(), name="lease"),
    ]
    done, _ = await asyncio.wait(
        [watching, flag_watch, *works, asyncio.create_task(stop.wait(), name="stop")],
        return_when=asyncio.FIRST_COMPLETED,
    )
    if not stop.is_set():
        for task in done:
            log.error("ended", part=task.get_name(), error=repr(task.exception()))
    # Ours first: kopf waits for every task that was made after it before it cancels them.
    parts.board.close()
    for task in works:
        task.cancel()
    await parts.traffic.close()
    await asyncio.wait(works)
    await parts.sentinels.close()
    await parts.network.close()
    enough.set()
    await asyncio.wait([watching])


async def _watch(parts: Parts, registry: kopf.OperatorRegistry, *, stop: asyncio.Event, ready: asyncio.Event) -> None:
    lifecycle.register_login(registry)
    namespaces = await parts.cluster.readable_namespaces()
    await kopf.operator(
        registry=registry,
        settings=lifecycle.settings(clusterwide=not parts.settings.namespaces),
        stop_flag=stop,
        ready_flag=ready,
        clusterwide=not parts.settings.namespaces,
        namespaces=namespaces,
        # By default kopf asks for the name of the user, who has none in a container.
        identity=parts.settings.pod_name,  # type: ignore[arg-type]
    )


async def _first(work: Coroutine[None, None, None], stop: Coroutine[None, None, object]) -> bool:
    """Whether the work ended before the stop came. Raises what the work raised."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(work), asyncio.create_task(stop)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    if tasks[0].done():
        tasks[0].result()
        return True
    return False


async def _either(stop: Coroutine[None, None, object], task: "asyncio.Task[None]") -> None:
    """Waits for whichever ends first."""
    stopping = asyncio.create_task(stop)
    await asyncio.wait([stopping, task], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


async def _reach_api(parts: Parts) -> None:
    """Waits for an API server that is new enough, however long it is away."""
    async for attempt in stamina.retry_context(on=Unavailable, attempts=None, timeout=None, wait_max=5.0):
        with attempt:
            await _check_version(parts.transport)


async def _check_version(transport: Transport) -> None:
    answer = await transport.get("/version")
    minor = int("".join(digit for digit in str(answer.get("minor", "0")) if digit.isdigit()) or 0)
    if minor < OLDEST_MINOR:
        raise TooOld(f"this operator needs Kubernetes 1.{OLDEST_MINOR} or newer; the cluster is {answer['gitVersion']}")


async def release(settings: Settings) -> int:
    """Stops the operator, then gives every workload back; returns the exit code."""
    async with assemble(settings) as parts:
        await parts.cluster.stop_deployment(namespace=settings.pod_namespace, name=settings.operator_deployment)
        await parts.lease.acquire()
        keeping = asyncio.create_task(parts.lease.keep())
        releaser = Releaser(
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
