"""The http check: one GET and its status. The body is read so far as the limit goes, and says nothing."""

from datetime import timedelta

from resilience.adapters.http import HttpClient
from resilience.core.decision import HttpProbe
from resilience.core.health import CheckResult, Outcome


def describe(probe: HttpProbe) -> str:
    """What is asked, for messages; a query may hold a secret and is left out."""
    return f"GET {probe.target.path.partition('?')[0]}"


async def check_http(probe: HttpProbe, *, client: HttpClient, timeout: timedelta) -> CheckResult:
    """Asks once. Redirects are not followed: their status counts, as in kubelet probes to other hosts.

    Raises:
        Refused, NetworkFailure: as HttpClient.request.
    """
    answer = await client.request("GET", probe.target, timeout=timeout)
    expected = answer.status in probe.expect if probe.expect else 200 <= answer.status < 400
    return CheckResult(
        outcome=Outcome.PASS if expected else Outcome.FAIL,
        reason=f"HTTP{answer.status}",
        message=f"{describe(probe)} answered {answer.status}",
        latency_seconds=answer.seconds,
    )
