"""Versions and results of rollouts in words, for people."""

from resilience.api.reasons import RolloutOutcome
from resilience.api.status_rollout import RolloutResult, Version


def describe_rollout(result: RolloutResult) -> str:
    """The result in one sentence."""
    duration, previous = (
        f"{result.duration.total_seconds():.0f} s",
        name_of(result.from_) if result.from_ is not None else "the old one",
    )
    match result.result:
        case RolloutOutcome.SUCCEEDED:
            text = f"released {name_of(result.to)} in {duration}"
        case RolloutOutcome.ROLLED_BACK:
            text = (
                f"{name_of(result.to)} failed and was rolled back after {duration}; {previous} serves: {result.message}"
            )
        case RolloutOutcome.PAUSED:
            text = f"{name_of(result.to)} failed; its rolling update is paused: {result.message}"
        case RolloutOutcome.FAILED:
            text = f"{name_of(result.to)} failed and stays, because there is nothing to roll back to: {result.message}"
        case RolloutOutcome.ABORTED:
            text = f"release of {name_of(result.to)} was aborted after {duration}; {previous} serves"
        case RolloutOutcome.SUPERSEDED:
            reason = "the template changed again, or rolls by itself"
            text = f"release of {name_of(result.to)} ended after {duration}: {reason}"
    if result.requests is not None:
        text += f"; {result.requests.failed} of {result.requests.sent} measured requests failed"
    if result.pods_ended:
        text += f"; the Deployment was resumed, and its controller ended {result.pods_ended} old pods by itself"
    if result.kept_connections_cut:
        text += f"; {result.kept_connections_cut} kept connections were cut"
    return text


def name_of(version: Version | None) -> str:
    """The version, for people."""
    return f"{version.image} ({version.hash})" if version is not None else "nothing"
