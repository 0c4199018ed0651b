"""The query of a check: run up to its first row, and the number in that row against its bounds."""

import math
from decimal import Decimal
from typing import Any, Final

from resilience.core.health.bounds import about, judge
from resilience.core.health.thresholds import Outcome
from resilience.core.model.bounds import Levels
from resilience.core.model.probes import PostgresProbe

# Types of PostgreSQL that a bound can be compared with.
_NUMBERS: Final = frozenset({"int2", "int4", "int8", "float4", "float8", "numeric"})


async def ask(connection: Any, probe: PostgresProbe) -> tuple[str, float | None]:
    """The problem in words if the query was not run, else an empty text; and the number in its row if it has bounds.

    Without bounds the rows stay on the server: a single row may be a gigabyte.
    """
    statement = await connection.prepare(probe.query, name="")
    if statement.get_parameters():
        return "the query has parameters, and a check has nothing to put there", None
    columns = statement.get_attributes()
    if not columns:
        return "the query returns no columns, so it is not run; a check needs one SELECT", None
    if probe.levels is not None and columns[0].type.name not in _NUMBERS:
        return "value has bounds, and the first column of the query is no number", None
    cursor = await statement.cursor()
    if probe.levels is None:
        await cursor.forward(1)
        return "", None
    row = await cursor.fetchrow()
    return "", None if row is None else _number(row[0])


def _number(value: int | float | Decimal | None) -> float | None:
    """The number; None for NULL and NaN."""
    number = math.nan if value is None else float(value)
    return None if math.isnan(number) else number


def verdict(levels: Levels, number: float | None) -> tuple[Outcome, str, str]:
    """Outcome, reason and words. Without a number it is not known whether the value is good."""
    if number is None:
        return Outcome.INCONCLUSIVE, "NoData", "the query returned no row, or no number in it"
    outcome, bounds = judge(levels, number)
    words = f"the value is about {about(number)}"
    if bounds.above is not None and number > bounds.above:
        words += f", above {bounds.above:g}"
    elif bounds.below is not None:
        words += f", below {bounds.below:g}"
    return outcome, "OutOfBounds", words
