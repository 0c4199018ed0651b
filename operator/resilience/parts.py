"""Wiring: the parts, and the parts that each is made of. No rule of the product is here."""

import contextlib
import ipaddress
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from resilience import __version__
from resilience.adapters.checks.checker import NetworkChecker
from resilience.adapters.checks.prometheus.client import PrometheusClient
from resilience.adapters.checks.redis.connections import RedisConnections
from resilience.adapters.checks.redis.dead_letters import RedisDeadLetters
from resilience.adapters.checks.redis.sentinel_events import SentinelEvents
from resilience.adapters.clock import SystemClock
from resilience.adapters.drain import HttpDrainer, HttpProber
from resilience.adapters.kube.api_outage import KubeApiOutage
from resilience.adapters.kube.cluster import KubeCluster
from resilience.adapters.kube.contents import KubeContents
from resilience.adapters.kube.lease import KubeLease
from resilience.adapters.kube.reader import KubeSecrets
from resilience.adapters.kube.receivers import KubeReceivers
from resilience.adapters.kube.tokens import KubeTokens
from resilience.adapters.kube.transport import Transport
from resilience.adapters.kube.usage import KubeUsage
from resilience.adapters.live_settings import LiveSettings
from resilience.adapters.net.address import AddressGuard
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.http import HttpClient
from resilience.adapters.receivers.notifier import Notifiers
from resilience.adapters.receivers.wording import Origin
from resilience.adapters.telemetry.logging import set_level
from resilience.adapters.telemetry.loop_lag import LoopLag
from resilience.adapters.telemetry.metrics import PrometheusMetrics
from resilience.config import Settings
from resilience.core.model.flags import Publication
from resilience.core.model.observation import Key
from resilience.core.restarts.fair_queue import Caps
from resilience.runtime.alerting.alert_index import AlertIndex, Heartbeat
from resilience.runtime.alerting.dispatcher import Dispatcher
from resilience.runtime.checking.check_runner import CheckRunner
from resilience.runtime.checking.sentinels import SentinelWatch
from resilience.runtime.checking.traffic_meter import TrafficMeter
from resilience.runtime.checking.usage_cache import UsageCache
from resilience.runtime.checking.usage_checker import MeasuringChecker
from resilience.runtime.container_restarts import ContainerRestarts
from resilience.runtime.controller import Controller
from resilience.runtime.dead_letters import Replays
from resilience.runtime.executor import Executor
from resilience.runtime.fair_queue import FairQueue
from resilience.runtime.flag_cache import FlagCache
from resilience.runtime.observer import Observer
from resilience.runtime.queue import KeyQueue
from resilience.runtime.resync import Resync
from resilience.runtime.store import Store

_LOOP_STUCK: Final = 30.0


@dataclass(slots=True)
class Parts:
    """All parts; each is created once."""

    settings: Settings
    clock: SystemClock
    metrics: PrometheusMetrics
    lag: LoopLag
    lease: KubeLease
    cluster: KubeCluster
    transport: Transport
    queue: KeyQueue
    store: Store
    storm: FairQueue
    board: FlagCache
    tokens: KubeTokens
    network: NetworkChecker
    sentinels: SentinelWatch
    checks: CheckRunner
    traffic: TrafficMeter
    observer: Observer
    executor: Executor
    controller: Controller
    couriers: Dispatcher
    resync: Resync

    def take_over(self, live: LiveSettings) -> None:
        """Applies settings that changed while the operator runs."""
        settings = self.settings
        set_level(live.log_level or settings.log_level)
        self.storm.caps = Caps(
            cluster=live.policy_restarts or settings.policy_restarts,
            namespace=live.policy_restarts_per_namespace or settings.policy_restarts_per_namespace,
        )

    def problems(self) -> list[str]:
        """Reasons to restart the process; only the leader has loops that can be stuck."""
        if not self.lease.held():
            return []
        now, reasons = self.clock.monotonic(), []
        if now - self.controller.last_turn > _LOOP_STUCK:
            reasons.append(f"the controller's loop has not turned for {now - self.controller.last_turn:.0f} s")
        silence = 3 * self.settings.resync_interval.total_seconds()
        if now - self.resync.last_success > silence:
            reasons.append(f"nothing could be listed for {now - self.resync.last_success:.0f} s")
        return reasons


@contextlib.asynccontextmanager
async def assemble(settings: Settings) -> AsyncIterator[Parts]:
    """Creates all parts over one connection to the API server."""
    metrics, clock, lag = PrometheusMetrics(version=__version__), SystemClock(), LoopLag()
    calm = KubeApiOutage(monotonic=clock.monotonic)

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
    calm: KubeApiOutage,
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
    storm = FairQueue(caps=caps, clock=clock, on_turn=queue.add)
    restarts = ContainerRestarts(now=clock.now)
    replays = Replays(RedisDeadLetters(connections=redis), now=clock.now)
    hub, couriers = _alerting(
        settings,
        transport,
        client=client,
        credentials=credentials,
        queue=queue,
        lease=lease,
        metrics=metrics,
        clock=clock,
    )
    board = FlagCache(now=clock.now, on_shown=lambda publication: _shown(metrics, clock, publication))
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
        alerts=hub,
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
        alerts=hub,
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
        alerts=hub,
        couriers=couriers,
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
        couriers=couriers,
        resync=resync,
    )


def _alerting(
    settings: Settings,
    transport: Transport,
    *,
    client: HttpClient,
    credentials: Credentials,
    queue: KeyQueue,
    lease: KubeLease,
    metrics: PrometheusMetrics,
    clock: SystemClock,
) -> tuple[AlertIndex, Dispatcher]:
    """The index of firing alerts, and the dispatcher that delivers them."""
    heartbeat = _key(settings.alerts_heartbeat_receiver)
    default = _key(settings.alerts_default_receiver)
    hub = AlertIndex(
        namespace=settings.pod_namespace,
        default=default,
        heartbeat=Heartbeat(heartbeat, settings.alerts_heartbeat_interval) if heartbeat is not None else None,
        now=clock.now,
        wake_service=queue.add,
    )
    # The operator's own receivers may be in a namespace without managed services.
    own = {receiver.namespace for receiver in (heartbeat, default) if receiver is not None}
    namespaces = (*settings.namespaces, *sorted(own)) if settings.namespaces else ()
    couriers = Dispatcher(
        cluster=KubeReceivers(transport=transport, namespaces=namespaces, instance=settings.pod_name),
        hub=hub,
        messenger=Notifiers(
            client=client,
            credentials=credentials,
            origin=Origin(
                cluster=settings.alerts_cluster,
                runbooks=settings.alerts_runbook_url,
                dashboard=settings.alerts_dashboard_url,
            ),
            now=clock.now,
        ),
        leadership=lease,
        metrics=metrics,
        clock=clock,
    )
    hub.wake_receiver = couriers.wake
    return hub, couriers


def _key(text: str) -> Key | None:
    """The key that `namespace/name` stands for, or None."""
    namespace, _, name = text.partition("/")
    return Key(namespace, name) if name else None


def _shown(metrics: PrometheusMetrics, clock: SystemClock, publication: Publication) -> None:
    metrics.flag_published(channel="http", seconds=(clock.now() - publication.updated_at).total_seconds())


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
    allowed = [ipaddress.ip_network(cidr, strict=False) for cidr in settings.allowed_networks]
    return AddressGuard(api_server=api_server, allowed=allowed)
