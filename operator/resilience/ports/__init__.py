"""The ports: what the runtime asks of the outside, and the errors that every adapter translates into.

Nothing here may import an adapter or a library that talks to anything.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from resilience.core.alerting.delivery import DeliveryFailure
from resilience.core.alerting.message import Message
from resilience.core.alerting.receiver import Receiver
from resilience.core.health.thresholds import CheckResult
from resilience.core.model.observation import Key
from resilience.core.model.probes import ConnectionsTarget, DeadLetters, HttpTarget, NetworkProbe, Probe, RedisPlace
from resilience.core.model.usage import PodUsage
from resilience.core.report.metrics import Picture


class PortError(Exception):
    """Base of the errors that cross a port. The text is for people and holds no secret."""


class Conflict(PortError):
    """The object changed since it was read, or somebody else owns the field; read again and decide again."""


class Refused(PortError):
    """The other side will not do it (403, 422, a full disruption budget); asking again changes nothing by itself."""


class Unavailable(PortError):
    """No answer, or one that says nothing (time-out, 5xx, 429): inconclusive, never a decision."""


class Invalid(PortError):
    """What came back cannot be read."""


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations."""
        ...


class Calm(Protocol):
    """Whether nodes can be trusted to know what the API server knows."""

    def left(self) -> timedelta:
        """Time until they can after an outage; zero in calm times."""
        ...


class Leadership(Protocol):
    """Whether this process may write."""

    def held(self) -> bool:
        """True until the renewal deadline of our Lease has passed."""
        ...


class Secrets(Protocol):
    """Secrets that a resource names."""

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        """One value. Raises Refused when the Secret is not labelled readable, Invalid when the key is missing."""
        ...


class Checker(Protocol):
    """Runs one health check."""

    async def check(self, probe: Probe, *, timeout: timedelta) -> CheckResult:
        """Asks once, without retries; never raises."""
        ...


class Network(Protocol):
    """Runs one check over the network."""

    async def check(self, probe: NetworkProbe, *, timeout: timedelta) -> CheckResult:
        """Asks once, without retries; never raises."""
        ...


class Drainer(Protocol):
    """Speaks to a pod that is about to go."""

    async def signal(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """POST the drain signal. Raises Unavailable or Refused."""
        ...

    async def take_back(self, target: HttpTarget, *, headers: Sequence[tuple[str, str]]) -> None:
        """DELETE the drain signal: the pod serves again. Raises Unavailable or Refused."""
        ...

    async def connections(self, target: ConnectionsTarget) -> int | None:
        """Connections that the pod still has, or None when it did not say."""
        ...


class Prober(Protocol):
    """Sends one request as a client would."""

    async def request(self, target: HttpTarget) -> float:
        """Seconds until the whole answer was there, on a new connection. Raises Unavailable when it failed."""
        ...


class Metrics(Protocol):
    """What the runtime counts."""

    def reconciled(self, *, seconds: float, result: str) -> None:
        """One pass is over."""
        ...

    def waited(self, *, seconds: float) -> None:
        """A key waited so long for its pass."""
        ...

    def acted(self, *, seconds: float) -> None:
        """A pass wrote or did something, so long after what caused it."""
        ...

    def refused(self, *, reason: str) -> None:
        """The guard said no."""
        ...

    def checked(self, *, key: Key, check: str, outcome: str, seconds: float | None, at: float) -> None:
        """A check ran; `at` is Unix time."""
        ...

    def seen(self, *, key: Key, picture: Picture) -> None:
        """A pass over a service found this."""
        ...

    def restarted(self, *, key: Key, result: str, seconds: float) -> None:
        """A restart ended."""
        ...

    def released(self, *, key: Key, result: str, seconds: float) -> None:
        """A release ended."""
        ...

    def measured(self, *, key: Key, sent: int, failed: int) -> None:
        """Requests that were sent while something was restarted or released."""
        ...

    def pins_lost(self, *, count: int) -> None:
        """Somebody took pins of a release away."""
        ...

    def switched(self, *, key: Key, flag: str, on: bool) -> None:
        """A flag changed."""
        ...

    def detected(self, *, seconds: float) -> None:
        """A dependency counts as lost, so long after its first failed check."""
        ...

    def told(self, *, channel: str, seconds: float) -> None:
        """A channel has a change of a flag, so long after it was decided."""
        ...

    def queue(self, *, depth: int) -> None:
        """How many keys wait."""
        ...

    def fired(self, *, key: Key, severity: str) -> None:
        """An alert of a service began."""
        ...

    def delivered(self, *, receiver: Key, result: str, seconds: float) -> None:
        """A message was told, or was not."""
        ...

    def heard(self, *, receiver: Key, seconds: float) -> None:
        """A receiver was told of an alert for the first time, so long after it began."""
        ...

    def receiver(self, *, receiver: Key, open_: int, dead: int, suppressed: int) -> None:
        """Conversations that go on, alerts given up, and repeats that nobody was told of."""
        ...

    def forget_receiver(self, receiver: Key) -> None:
        """The receiver is gone: remove its series."""
        ...

    def forget(self, key: Key) -> None:
        """The resource is gone: remove its series."""
        ...


class Usage(Protocol):
    """What pods use of processor and memory."""

    async def pods(self, namespace: str) -> Mapping[str, PodUsage]:
        """Usage by name of the pod; a pod that has not been measured yet is not there.

        Raises Unavailable, in words that say what to do, when nothing measures pods or it may not be read.
        """
        ...


class Contents(Protocol):
    """Content of ConfigMaps and Secrets, never shown."""

    async def epoch(self) -> str:
        """What fingerprints depend on besides the content: those of different epochs cannot be compared."""
        ...

    async def fingerprint(self, *, namespace: str, kind: str, name: str) -> str:
        """A hash. Raises Invalid when there is no such object, Refused for a Secret that is not labelled readable."""
        ...


@dataclass(frozen=True, slots=True)
class MasterLost:
    """What a Sentinel says of a master: a CamelCase word, and a sentence."""

    reason: str
    message: str


class Sentinels(Protocol):
    """What Sentinels announce by themselves."""

    def listen(self, place: RedisPlace, sentinel: tuple[str, int]) -> AsyncIterator[MasterLost | None]:
        """What one Sentinel says of this master, from now on; None each time it turns out to be there still.

        Raises Unavailable when it cannot be heard, or not any more; Refused when it must not be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Dead letters that were put back at once, how many are left, and whether any of them may go back, too."""

    moved: int
    left: int
    more: bool


class DeadLetterOffice(Protocol):
    """Puts dead letters back into their stream."""

    async def replay(self, letters: DeadLetters) -> Batch:
        """One batch, oldest first. Raises Unavailable when nobody answers, Refused when the server will not."""
        ...


class DeliveryFailed(PortError):
    """A message did not arrive, or nobody can say that it did."""

    def __init__(self, trouble: DeliveryFailure) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Receipt:
    """A message arrived. `handle`: the receiver's own name of it, if it can be kept up to date.

    `note`: what a person should know of it nevertheless.
    """

    handle: str = ""
    note: str = ""


class Messenger(Protocol):
    """Speaks to those who are told of alerts."""

    async def deliver(self, receiver: Receiver, message: Message) -> Receipt:
        """Tell once, without retries, within the receiver's time-out. Raises DeliveryFailed."""
        ...
