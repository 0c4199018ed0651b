"""The prometheus check: values of one query, and bounds for them.

Only values count. No data, half an answer, or none at all say nothing about the target, so they are inconclusive: a
query that finds nothing must never pass. Nothing of an answer gets into a message but a number, and that rounded.
"""

import math
from datetime import timedelta
from typing import Final

from resilience.adapters.checks.prometheus.client import PrometheusClient, TooLong, Values
from resilience.adapters.checks.prometheus.promql import QueryRefused
from resilience.core.health.thresholds import CheckResult, Outcome
from resilience.core.model.probes import PrometheusProbe
from resilience.ports import PortError

MOST_SERIES: Final = 100
_AGGREGATE: Final = "aggregate it, e.g. with sum() or max()"
# What is asked, for messages; the query itself is in the spec.
DESCRIPTION: Final = "Prometheus query"


async def check_prometheus(
    probe: PrometheusProbe, *, client: PrometheusClient | None, timeout: timedelta
) -> CheckResult:
    """Passes when there are values and all are within bounds. `client`: None where none is configured. Never raises."""
    if client is None:
        return _unknown("NotConfigured", "no Prometheus server is known; set prometheus.url in the operator's values")
    try:
        found = await client.query(probe.query, namespace=probe.namespace, timeout=timeout)
    except QueryRefused as refusal:
        return _unknown("QueryRefused", str(refusal))
    except TooLong as long:
        return _unknown("TooManySeries", f"{long}; {_AGGREGATE}")
    except PortError as error:
        return _unknown("Unavailable", str(error))
    return _judged(found, probe)


def _judged(found: Values, probe: PrometheusProbe) -> CheckResult:
    if found.partial:
        return _unknown("PartialData", "the server warns that its answer may be incomplete")
    if len(found.values) > MOST_SERIES:
        return _unknown(
            "TooManySeries", f"the query gives {len(found.values)} series, more than {MOST_SERIES}; {_AGGREGATE}"
        )
    if not found.values:
        return _unknown("NoData", "the query finds no series")
    words = _out_of_bounds(found.values, probe)
    if words:
        return CheckResult(Outcome.FAIL, "OutOfBounds", f"{DESCRIPTION}: {words}", found.seconds)
    strange = sum(math.isnan(value) for value in found.values)
    if strange:
        return _unknown("NoData", f"{strange} of {len(found.values)} values are not a number")
    # Without the value: a message that changes with every run would be written into status again and again.
    figure = found.values[0] if len(found.values) == 1 else None
    words = f"{DESCRIPTION}: every value is within bounds"
    return CheckResult(Outcome.PASS, "WithinBounds", words, found.seconds, figure=figure)


def _out_of_bounds(values: tuple[float, ...], probe: PrometheusProbe) -> str:
    """The worst value and the bound that it breaks; empty when none does. Nothing is true of NaN, so it breaks none."""
    high = [value for value in values if probe.above is not None and value > probe.above]
    low = [value for value in values if probe.below is not None and value < probe.below]
    if not high and not low:
        return ""
    many = f"{len(high) + len(low)} of {len(values)} values are out of bounds: " if len(values) > 1 else ""
    worst = f"{_about(max(high))}, above {probe.above:g}" if high else f"{_about(min(low))}, below {probe.below:g}"
    return f"{many}about {worst}"


def _about(value: float) -> str:
    """Two digits: enough for a person, and no reason to write status for every small change."""
    return f"{float(f'{value:.2g}'):g}"


def _unknown(reason: str, words: str) -> CheckResult:
    return CheckResult(Outcome.INCONCLUSIVE, reason, f"{DESCRIPTION}: {words}")
