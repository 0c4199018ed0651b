"""Measured requests while the candidate serves: a reason to go back, unless they failed before as well."""

from datetime import timedelta
from typing import Final

from resilience.api.reasons import FailureClass
from resilience.core.failures.classify import Failure
from resilience.core.model.traffic import Traffic
from resilience.core.rollouts import baseline
from resilience.core.rollouts.context import RolloutContext

_OLD_FAILURE_SPAN: Final = timedelta(seconds=2)


def failure(context: RolloutContext) -> Failure | None:
    """The failure of measured requests through the Service, or None. Failures in a row outweigh any check."""
    traffic = _failing(context)
    if traffic is None or context.left(_OLD_FAILURE_SPAN) is not None:
        # Early failures may belong to the previous version.
        return None
    if baseline.of(context).excuses_requests(traffic):
        return None
    path = context.spec.verify.path if context.spec.verify else ""
    return Failure(
        kind=FailureClass.VERIFICATION,
        reason="RequestsFail",
        message=f"{traffic.failed_in_row} measured requests in a row failed through the Service",
        advice=f"find out why the new version does not answer {path}",
    )


def note(context: RolloutContext) -> str:
    """A note for people when they fail as they failed before the release; empty otherwise."""
    traffic = _failing(context)
    if traffic is None or not baseline.of(context).excuses_requests(traffic):
        return ""
    words = f": {traffic.failure}" if traffic.failure else ""
    return f"; measured requests fail as before this release{words}"


def _failing(context: RolloutContext) -> Traffic | None:
    """The measured requests, while enough in a row have failed until now; else None."""
    traffic = context.observation.traffic
    is_failing = traffic is not None and traffic.failed_in_row >= context.spec.health.failure_threshold
    return traffic if is_failing else None
