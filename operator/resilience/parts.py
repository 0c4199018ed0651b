"""Wiring: the parts, and the parts that each is made of. No rule of the product is here."""

import contextlib
import ipaddress
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
from resilience.adapters.net.proxy import Proxies
from resilience.adapters.receivers.notifier import Notifiers
from resilience.adapters.receivers.wording import Origin
from resilience.adapters.telemetry.logging import set_level
from resilience.adapters.telemetry.loop_lag import LoopLag
from resilience.adapters.telemetry.metrics import PrometheusMetrics
from resilience.config import Settings
from resilience.core.model.flags import Publication
from resilience.core.model.observation import Key
from resilience.core.model.probes import HttpLogin, OAuth2, SecretRef
from resilience.core.restarts.fair_queue import Caps
from resilience.runtime.alerting.alert_index import AlertIndex, Heartbeat
from resilience.runtime.alerting.dispatcher import Dispatcher
from resilience.runtime.checking.sentinels import SentinelWatch
from resilience.runtime.checking.usage_cache import UsageCache
from resilience.runtime.checking.usage_checker import MeasuringChecker
from resilience.runtime.controller import Controller
from resilience.runtime.executor import Executor
from resilience.runtime.flag_cache import FlagCache
from resilience.runtime.observer import Observer
from resilience.runtime.queue import KeyQueue
from resilience.runtime.resync import Resync
from resilience.runtime.service_state import Limits, ServiceState

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
    state: ServiceState
    board: FlagCache
    tokens: KubeTokens
    network: NetworkChecker
    sentinels: SentinelWatch
    observer: Observer
    executor: Executor
    controller: Controller
    couriers: Dispatcher
    resync: Resync

    def take_over(self, live: LiveSettings) -> None:
        """Applies settings that changed while the operator runs."""
        settings = self.settings
        set_level(live.log_level or settings.log_level)
        self.state.turns.caps = Caps(
            cluster=live.policy_restarts or settings.policy_restarts,
            namespace=live.policy_restarts_per_namespace or settings.policy_restarts_per_namespace,
        )

    def problems(self) -> list[str]:
        """Reasons to restart the process: its loops are stuck. A standby has only the one that tries to lead."""
        now, reasons = self.clock.monotonic(), []
        if self.lease.untried() > _LOOP_STUCK:
            reasons.append(f"the lease has not been tried for {self.lease.untried():.0f} s")
        if not self.lease.held():
            return reasons
        if now - self.controller.last_turn > _LOOP_STUCK:
            reasons.append(f"the controller's loop has not turned for {now - self.controller.last_turn:.0f} s")
        silence = 3 * self.settings.resync_interval.total_seconds()
        if now - self.resync.last_success > silence:
            reasons.append(f"nothing could be listed for {now - self.resync.last_success:.0f} s")
        return reasons


@contextlib.asynccontextmanager
async def assemble(settings: Settings) -> AsyncIterator[Parts]:
    """Creates all parts over one connection to the API server."""
    metrics = PrometheusMetrics(version=__version__, installation=settings.installation)
    clock, lag = SystemClock(), LoopLag()
    metrics.loop_lag(lag.of_last_minute)
    calm = KubeApiOutage(monotonic=clock.monotonic)

    def observe(verb: str, status: int, seconds: float) -> None:
        metrics.api_request(verb, str(status) if status else "none", seconds)
        calm.answered(0 < status < 500)

    async with Transport.connect(timeout=settings.api_timeout, observer=observe, clock=clock) as transport:
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
    proxies = _proxies(settings)
    client = HttpClient(guard=_address_guard(settings, transport), version=__version__, proxies=proxies)
    cluster = KubeCluster(transport=transport, namespaces=settings.namespaces, instance=settings.pod_name)
    lease = KubeLease(
        transport=transport,
        namespace=settings.pod_namespace,
        name=settings.lease_name,
        identity=settings.pod_name,
        now=clock.now,
        monotonic=clock.monotonic,
        calm=calm,
    )
    secrets = KubeSecrets(transport=transport)
    queue, drainer = KeyQueue(monotonic=clock.monotonic, workers=settings.workers), HttpDrainer(client=client)
    credentials = Credentials(secrets=secrets, monotonic=clock.monotonic)
    redis = RedisConnections(guard=client.guard, credentials=credentials)
    network = NetworkChecker(
        client=client, loop_lag=lag.worst, credentials=credentials, prometheus=_prometheus(settings, proxies)
    )
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
    state = ServiceState.make(
        queue=queue,
        alerts=hub,
        checker=_checker(settings, transport, network, clock),
        prober=HttpProber(client=client),
        replayer=RedisDeadLetters(connections=redis),
        metrics=metrics,
        clock=clock,
        limits=_limits(settings),
    )
    sentinels = SentinelWatch(
        sentinels=SentinelEvents(connections=redis), on_lost=state.checks.lost, monotonic=clock.monotonic
    )
    state.checks.on_places = sentinels.sync
    observer = Observer(
        cluster=cluster,
        drainer=drainer,
        state=state,
        calm=calm,
        refused=settings.refuses,
        finalizers=settings.finalizers,
    )
    executor = Executor(
        cluster=cluster,
        observer=observer,
        drainer=drainer,
        secrets=secrets,
        leadership=lease,
        metrics=metrics,
        clock=clock,
        replays=state.replays,
    )
    controller = Controller(
        cluster=cluster,
        observer=observer,
        executor=executor,
        state=state,
        leadership=lease,
        metrics=metrics,
        clock=clock,
    )
    return Parts(
        settings=settings,
        clock=clock,
        metrics=metrics,
        lag=lag,
        lease=lease,
        cluster=cluster,
        transport=transport,
        state=state,
        board=FlagCache(now=clock.now, on_shown=lambda publication: _shown(metrics, clock, publication)),
        tokens=KubeTokens(transport=transport, monotonic=clock.monotonic, wall=lambda: clock.now().timestamp()),
        network=network,
        sentinels=sentinels,
        observer=observer,
        executor=executor,
        controller=controller,
        couriers=couriers,
        resync=Resync(
            cluster=cluster,
            marked=cluster.marked,
            controller=controller,
            state=state,
            couriers=couriers,
            interval=settings.resync_interval,
            monotonic=clock.monotonic,
        ),
    )


def _checker(settings: Settings, transport: Transport, network: NetworkChecker, clock: SystemClock) -> MeasuringChecker:
    """Checks over the network, and what is measured by way of the Kubernetes API."""
    usage = KubeUsage(transport=transport)
    return MeasuringChecker(
        network=network,
        usage=UsageCache(usage=usage, monotonic=clock.monotonic, period=settings.usage_interval),
        contents=KubeContents(transport=transport, lease=(settings.pod_namespace, settings.lease_name)),
        now=clock.now,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        checks=settings.check_concurrency,
        requests_per_second=settings.verify_requests_per_second,
        restarts=Caps(cluster=settings.policy_restarts, namespace=settings.policy_restarts_per_namespace),
        services_per_namespace=settings.services_per_namespace,
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


def _prometheus(settings: Settings, proxies: Proxies) -> PrometheusClient | None:
    if not settings.prometheus_url:
        return None
    return PrometheusClient(
        url=settings.prometheus_url,
        token_file=settings.prometheus_token_file,
        ca_file=settings.prometheus_ca_file,
        headers_file=settings.prometheus_headers_file,
        login=_prometheus_login(settings),
        version=__version__,
        proxies=proxies,
    )


def _prometheus_login(settings: Settings) -> HttpLogin:
    """Its Secrets are mounted files."""
    if settings.prometheus_oauth2_token_url:
        client = OAuth2(
            token_url=settings.prometheus_oauth2_token_url,
            client_id=settings.prometheus_oauth2_client_id,
            secret=SecretRef("", settings.prometheus_oauth2_client_secret_file, ""),
            scopes=settings.prometheus_oauth2_scopes,
        )
        return HttpLogin(oauth2=client)
    file = settings.prometheus_basic_auth_file
    return HttpLogin(basic=SecretRef("", file, "") if file else None)


def _proxies(settings: Settings) -> Proxies:
    return Proxies(
        http=settings.proxy_http,
        https=settings.proxy_https,
        bypass=settings.no_proxy,
        credentials=settings.proxy_credentials.get_secret_value(),
    )


def _address_guard(settings: Settings, transport: Transport) -> AddressGuard:
    host = urlsplit(transport.server).hostname or ""
    api_server = []
    with contextlib.suppress(ValueError):
        api_server.append(ipaddress.ip_address(host))
    allowed = [ipaddress.ip_network(cidr, strict=False) for cidr in settings.allowed_networks]
    return AddressGuard(api_server=api_server, allowed=allowed)
