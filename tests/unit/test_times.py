"""Times as the operator writes them: in UTC, whatever zone a person or another program gave."""

from datetime import datetime

import pytest

from resilience.adapters.receivers.wording import since
from resilience.api.status_base import format_micro_time, format_time


@pytest.mark.parametrize("text", ["2026-12-01T00:30:00Z", "2026-12-01T02:30:00+02:00", "2026-11-30T16:30:00-08:00"])
def test_times_are_written_in_utc(text: str) -> None:
    at = datetime.fromisoformat(text)
    assert format_time(at) == "2026-12-01T00:30:00.000Z"
    assert format_micro_time(at) == "2026-12-01T00:30:00.000000Z"
    assert since(at) == "2026-12-01 00:30:00 UTC"
