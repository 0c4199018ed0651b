"""The ports: interfaces to everything outside the process, and the errors that every adapter translates into.

Nothing here may import an adapter or a library that does I/O.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.alerting.receiver import Receiver
from resilience.core.health.thresholds import CheckResult
from resilience.core.model.destinations import ConnectionsTarget, DeadLetters
from resilience.core.model.observation import Key
from resilience.core.model.probes import (
    HttpTarget,
    NetworkProbe,
    Probe,
    RedisPlace,
)
from resilience.core.model.usage import PodUsage
from resilience.core.report.metrics import ServiceFigures


class PortError(Exception):
    """Base of the errors that cross a port. The text is for people and holds no secret."""


class Conflict(PortError):
    """The object changed since it was read, or somebody else owns it; read again and decide again."""


class Refused(PortError):
    """The other side refuses the request (403, 422, an exhausted disruption budget); a retry alone changes nothing."""


class NotLabelled(Refused):
    """A Secret lacks the label by which its owner permits the read."""


class NamespaceEnding(Refused):
    """The namespace is being deleted, so nothing more is created in it. No retry changes that, and it is no error."""


class CandidateRefused(Refused):
    """The API server refuses to create green. The text is its own."""


class Unavailable(PortError):
    """No answer, or an inconclusive one (time-out, 5xx, 429): no decision may be based on it."""


class Invalid(PortError):
    """The answer cannot be read, or does not contain the requested value."""


class Clock(Protocol):
    """The current time, behind a port so that tests can control it."""

    def now(self) -> datetime:
        """The current time in UTC, timezone-aware."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes backwards, for durations."""
        ...


class ApiOutage(Protocol):
    """State of the nodes after an API server outage: they may not know yet what the API server knows."""

    def left(self) -> timedelta:
        """Time until the nodes have caught up after an outage; zero when they have."""
        ...


class Leadership(Protocol):
    """The right of this process to write."""

    def held(self) -> bool:
        """The Lease is ours, and its renewal deadline has not passed."""
        ...


class Secrets(Protocol):
    """Secrets that a resource references."""

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        """One value, without a byte order mark and line breaks at its end.

        Raises Refused for a Secret not labelled readable, Invalid when the Secret or key is missing.
        """
        ...


class Checker(Protocol):
    """Runs one health check."""

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        """Result of one attempt, without retries; never raises."""
        ...


class Network(Protocol):
    """Runs one check over the network."""

    async def check(self, probe: NetworkProbe, *, timeout: timedelta) -> CheckResult:
        """Result of one attempt, without retries; never raises."""
        ...


class Drainer(Protocol):
    """Sends requests to a pod that is about to stop."""

    async def signal(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """POST the drain signal. Raises Unavailable or Refused."""
        ...

    async def take_back(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """DELETE the drain signal, so that the pod serves again. Raises Unavailable or Refused."""
        ...

    async def connections(self, target: ConnectionsTarget) -> int | None:
        """Number of connections that the pod still has, or None when the pod did not report it."""
        ...


class Prober(Protocol):
    """Sends one request as a client would."""

    async def request(self, target: HttpTarget) -> float:
        """Seconds until the whole answer arrived on a new connection. Raises Unavailable when the request failed."""
        ...


class Metrics(Protocol):
    """Metrics that the runtime records."""

    def reconciled(self, *, seconds: float, result: str) -> None:
        """A pass ended after `seconds`."""
        ...

    def waited(self, *, seconds: float) -> None:
        """A key waited `seconds` for its pass."""
        ...

    def acted(self, *, seconds: float) -> None:
        """A pass wrote or did something, `seconds` after its cause."""
        ...

    def refused(self, *, reason: str) -> None:
        """The guard refused an action."""
        ...

    def checked(self, *, key: Key, check: str, outcome: str, seconds: float | None, at: float) -> None:
        """A check ran; `at` is Unix time."""
        ...

    def observed(self, *, key: Key, picture: ServiceFigures) -> None:
        """A pass over a service observed `picture`."""
        ...

    def restarted(self, *, key: Key, result: str, seconds: float) -> None:
        """A restart ended."""
        ...

    def released(self, *, key: Key, result: str, seconds: float) -> None:
        """A rollout ended."""
        ...

    def measured(self, *, key: Key, sent: int, failed: int) -> None:
        """The operator sent `sent` requests during a restart or a rollout, and `failed` of them failed."""
        ...

    def pins_lost(self, *, count: int) -> None:
        """Somebody removed `count` pins of a rollout."""
        ...

    def switched(self, *, key: Key, flag: str, on: bool) -> None:
        """A flag changed."""
        ...

    def detected(self, *, seconds: float) -> None:
        """A dependency counts as lost, `seconds` after its first failed check."""
        ...

    def flag_published(self, *, channel: str, seconds: float) -> None:
        """A channel carries a change of a flag, `seconds` after the decision."""
        ...

    def queue(self, *, depth: int) -> None:
        """`depth` keys wait in the queue."""
        ...

    def fired(self, *, key: Key, severity: str) -> None:
        """An alert of a service began."""
        ...

    def delivered(self, *, receiver: Key, result: str, seconds: float) -> None:
        """A message was delivered or was not, as `result` says."""
        ...

    def notified(self, *, receiver: Key, seconds: float) -> None:
        """A receiver was notified of an alert for the first time, `seconds` after the alert began."""
        ...

    def receiver(self, *, receiver: Key, open_: int, dead: int, suppressed: int) -> None:
        """Numbers of open conversations, of alerts given up, and of repeats that were not delivered."""
        ...

    def forget_receiver(self, receiver: Key) -> None:
        """Remove the series of a receiver that no longer exists."""
        ...

    def forget(self, key: Key) -> None:
        """Remove the series of a resource that no longer exists."""
        ...


class Usage(Protocol):
    """CPU and memory usage of pods."""

    async def pods(self, namespace: str) -> Mapping[str, PodUsage]:
        """Usage by pod name; a pod that has not been measured yet is absent.

        Raises Unavailable, with a text that says what to do, when nothing measures pods or reading it is forbidden.
        """
        ...


class Contents(Protocol):
    """Content of ConfigMaps and Secrets, as fingerprints that do not reveal it."""

    async def epoch(self) -> str:
        """Identifier of all that fingerprints depend on besides the content; compare them within one epoch only."""
        ...

    async def fingerprint(self, *, namespace: str, kind: str, name: str) -> str | None:
        """A hash; None when there is no such object. Raises NotLabelled for a Secret that is not labelled readable."""
        ...


@dataclass(frozen=True, slots=True)
class MasterLost:
    """Report of a Sentinel that a master is lost: a reason in CamelCase, and a sentence."""

    reason: str
    message: str


class Sentinels(Protocol):
    """Announcements that Sentinels publish."""

    def listen(self, place: RedisPlace, sentinel: tuple[str, int]) -> AsyncIterator[MasterLost | None]:
        """Reports of one Sentinel on this master, from now on; None each time that the master proves to be there.

        Raises Unavailable when the Sentinel does not answer, or stops answering; Refused when connecting is forbidden.
        """
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of dead letters: how many moved back, how many are left, and whether more of them may move back."""

    moved: int
    left: int
    more: bool


class DeadLetterReplayer(Protocol):
    """Moves dead letters back into their stream."""

    async def replay(self, letters: DeadLetters) -> Batch:
        """Move one batch, oldest first. Raises Unavailable without an answer, Refused when the server refuses."""
        ...


class DeliveryFailed(PortError):
    """A message did not arrive, or its arrival is not confirmed."""

    def __init__(self, trouble: DeliveryFailure) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Receipt:
    """A message arrived. `handle`: the receiver's own identifier of the message, if the message can be updated.

    `note`: a remark on the delivery that a person should read.
    """

    handle: str = ""
    note: str = ""


class Notifier(Protocol):
    """Delivers messages to receivers."""

    async def deliver(self, receiver: Receiver, message: Message) -> Receipt:
        """Deliver within the receiver's time-out; the only retry is with a Secret read again. Raises DeliveryFailed."""
        ...
