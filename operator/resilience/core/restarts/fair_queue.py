"""Storm control: when policies of many services fire together, the services restart one after the other under a cap.

Lower priority numbers go first, then the service that has waited longest. A service that has had a turn lets the others
go before its next one, so that no service starves. The queue keeps no state: a waiting service requests its turn again,
and a running restart is in the status of its service.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from resilience.core.model.observation import Key, Ticket, Turn

# Assumed duration of a restart while none has been measured.
USUAL: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Caps:
    """The largest number of services that policies restart at once."""

    cluster: int
    namespace: int


def turns(
    waiting: Iterable[Ticket],
    running: Iterable[Key],
    caps: Caps,
    *,
    usual: timedelta = USUAL,
    served: Container[Key] = (),
) -> Mapping[Key, Turn]:
    """The turn of every waiting service. `usual`: recent duration of a restart; `served`: services that had a turn."""
    total, by_namespace = 0, dict[str, int]()
    for key in running:
        total += 1
        by_namespace[key.namespace] = by_namespace.get(key.namespace, 0) + 1
    result: dict[Key, Turn] = {}
    ahead, ahead_here = 0, dict[str, int]()
    for ticket in sorted(waiting, key=lambda ticket: (ticket.key in served, ticket.priority, ticket.since, ticket.key)):
        namespace = ticket.key.namespace
        here = by_namespace.get(namespace, 0)
        if total < caps.cluster and here < caps.namespace:
            total += 1
            by_namespace[namespace] = here + 1
            result[ticket.key] = Turn(granted=True)
            continue
        rounds = max(ahead // caps.cluster, ahead_here.get(namespace, 0) // caps.namespace) + 1
        result[ticket.key] = Turn(granted=False, ahead=ahead, expected=usual * rounds)
        ahead += 1
        ahead_here[namespace] = ahead_here.get(namespace, 0) + 1
    return result
