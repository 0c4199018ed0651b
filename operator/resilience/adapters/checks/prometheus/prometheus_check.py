"""The prometheus check: compares the values of one query with bounds.

Only values count. No data, a partial answer or no answer says nothing about the target and is inconclusive: a query
without results must never pass. From an answer, only numbers get into messages, and values only rounded.
"""

import math
from datetime import timedelta
from typing import Final

from resilience.adapters.checks.prometheus.client import PrometheusClient, TooLong, Values
from resilience.adapters.checks.prometheus.refusal import QueryRefused
from resilience.core.health.bounds import about
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.bounds import Bounds
from resilience.core.model.probes import PrometheusProbe
from resilience.ports import PortError

MOST_SERIES: Final = 100
_AGGREGATE: Final = "aggregate it, e.g. with sum() or max()"
# The subject of messages; the query itself is in the spec.
DESCRIPTION: Final = "Prometheus query"


async def check_prometheus(
    probe: PrometheusProbe, *, client: PrometheusClient | None, timeout: timedelta
) -> CheckResult:
    """Passes when there are values and all are within bounds; warns out of those for a warning. Never raises.

    `client` is None where no Prometheus server is configured.
    """
    if client is None:
        return _unknown("NotConfigured", "no Prometheus server is known; set prometheus.url in the operator's values")
    try:
        result = await client.query(probe.query, namespace=probe.namespace, timeout=timeout)
    except QueryRefused as refusal:
        return _unknown("QueryRefused", str(refusal))
    except TooLong as error:
        return _unknown("TooManySeries", f"{error}; {_AGGREGATE}")
    except PortError as error:
        return _unknown("Unavailable", str(error))
    return _judged(result, probe)


def _judged(result: Values, probe: PrometheusProbe) -> CheckResult:
    if result.partial:
        return _unknown("PartialData", "the server warns that its answer may be incomplete")
    if len(result.values) > MOST_SERIES:
        return _unknown(
            "TooManySeries", f"the query returns {len(result.values)} series, more than {MOST_SERIES}; {_AGGREGATE}"
        )
    if not result.values:
        return _unknown("NoData", "the query returns no series")
    figure = result.values[0] if len(result.values) == 1 else None
    if words := _out_of_bounds(result.values, probe.levels.critical):
        return CheckResult(Outcome.FAIL, "OutOfBounds", f"{DESCRIPTION}: {words}", result.seconds, figure=figure)
    nan_count = sum(math.isnan(value) for value in result.values)
    if nan_count:
        return _unknown("NoData", f"{nan_count} of {len(result.values)} values are not a number")
    if words := _out_of_bounds(result.values, probe.levels.warning):
        return CheckResult(Outcome.WARN, "OutOfBounds", f"{DESCRIPTION}: {words}", result.seconds, figure=figure)
    # The message leaves the value out: if it changed with every run, status would be written every time.
    words = f"{DESCRIPTION}: every value is within bounds"
    return CheckResult(Outcome.PASS, "WithinBounds", words, result.seconds, figure=figure)


def _out_of_bounds(values: tuple[float, ...], bounds: Bounds) -> str:
    """The worst value and the bound that it breaks, in words; empty when none does. NaN breaks no bound."""
    high = [value for value in values if bounds.above is not None and value > bounds.above]
    low = [value for value in values if bounds.below is not None and value < bounds.below]
    if not high and not low:
        return ""
    many = f"{len(high) + len(low)} of {len(values)} values are out of bounds: " if len(values) > 1 else ""
    worst = f"{about(max(high))}, above {bounds.above:g}" if high else f"{about(min(low))}, below {bounds.below:g}"
    return f"{many}about {worst}"


def _unknown(reason: str, words: str) -> CheckResult:
    return CheckResult(Outcome.INCONCLUSIVE, reason, f"{DESCRIPTION}: {words}")
