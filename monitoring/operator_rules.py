"""Alerts about the operator itself: others have to notice that it is gone, or cannot notify people."""

from datetime import timedelta
from typing import Final

from monitoring.rule import INSTALLATION, Alert, Group, of_installation

_MINUTE: Final = timedelta(minutes=1)
_OF: Final = "cluster, namespace, name"
_ERRORS: Final = 'increase(resilience_operator_reconciles_total{result="error"}[10m])'
_FAILED: Final = 'rate(resilience_operator_api_requests_total{code=~"5..|none"}[10m])'
_REQUESTS: Final = "rate(resilience_operator_api_requests_total[10m])"
_ACTIONS: Final = "rate(resilience_operator_event_to_action_seconds_bucket[15m])"


def groups() -> list[Group]:
    """The group of alerts."""
    return [Group("resilience-operator", timedelta(seconds=30), [*_absence(), *_faults(), *_undelivered()])]


def _sum(series: str, *by: str) -> str:
    """The sum over the replicas of an installation."""
    return f"sum by ({', '.join(('cluster', 'installation', *by))}) ({of_installation(series)})"


def _shared() -> str:
    """Number of services that this installation and another one look after."""
    mine, of_all = (
        f"max by (installation, {_OF}) ({of_installation('resilience_service_phase', matcher)})"
        for matcher in (INSTALLATION, "")
    )
    several = f"count by ({_OF}) ({of_all}) > 1"
    return f"count by (cluster, installation) ({mine} and on ({_OF}) ({several})) > 0"


def _absence() -> list[Alert]:
    return [
        Alert(
            "ResilienceOperatorDown",
            f"absent(resilience_operator_build_info{{{INSTALLATION}}})",
            "critical",
            "No replica of the Resilience Operator is scraped",
            "No metric of the operator has come in for 5 minutes: it is gone, or cannot be scraped.",
            "kubectl get pods -l app.kubernetes.io/name=resilience-operator -A; what runs goes on without it.",
            keep=5 * _MINUTE,
        ),
        Alert(
            "ResilienceOperatorNoLeader",
            f"{_sum('resilience_operator_leader')} == 0",
            "critical",
            "No replica of the Resilience Operator leads",
            "For 2 minutes no service has been managed: replicas run, and none of them holds the Lease.",
            "kubectl describe lease resilience-operator -A; the logs of the replicas say why they cannot take it.",
            keep=2 * _MINUTE,
        ),
        Alert(
            "ResilienceOperatorTwoLeaders",
            f"{_sum('resilience_operator_leader')} > 1",
            "critical",
            "More than one replica of the Resilience Operator thinks that it leads",
            "For 2 minutes {{ $value }} replicas have said that they lead.",
            "Check the clocks of the nodes; the logs of the replicas say when each took the Lease.",
            keep=2 * _MINUTE,
        ),
        Alert(
            "ResilienceServicesShared",
            _shared(),
            "critical",
            "Another Resilience Operator looks after the same services",
            "For 5 minutes {{ $value }} services have been looked after by another installation, too.",
            "helm list -A: give each installation namespaces of its own, or uninstall one.",
            keep=5 * _MINUTE,
        ),
    ]


def _faults() -> list[Alert]:
    return [
        Alert(
            "ResilienceOperatorErrors",
            f"{_sum(_ERRORS)} > 0",
            "warning",
            "Passes of the Resilience Operator end in errors",
            "{{ $value | humanize }} passes over services ended in an unexpected error within 10 minutes.",
            "The operator's log has the traceback and the service: please report it.",
        ),
        Alert(
            "ResilienceOperatorApiErrors",
            f"{_sum(_FAILED)} / {_sum(_REQUESTS)} > 0.05",
            "warning",
            "The Kubernetes API fails requests of the Resilience Operator",
            "{{ $value | humanizePercentage }} of its requests failed within 10 minutes; meanwhile it waits.",
            "Look at the API server: kubectl get --raw /readyz?verbose.",
            keep=10 * _MINUTE,
        ),
        Alert(
            "ResilienceOperatorSlow",
            f"histogram_quantile(0.95, {_sum(_ACTIONS, 'le')}) > 10",
            "warning",
            "The Resilience Operator is slow to act",
            "One in twenty events takes longer than {{ $value | humanizeDuration }} until something is done.",
            "Give it processor time (resources), raise RESILIENCE_WORKERS, or check whether the API server is slow.",
            keep=15 * _MINUTE,
        ),
        Alert(
            "ResilienceOperatorLoopLags",
            f"max by (cluster, installation, work) ({of_installation('resilience_operator_loop_lag_seconds')}) > 0.5",
            "warning",
            "The Resilience Operator stands still again and again",
            "Its event loop is held for up to {{ $value | humanizeDuration }} by {{ $labels.work }}, every minute.",
            "The operator's log names the place (`the event loop stood still`); `other`: give it processor time.",
            keep=3 * _MINUTE,
        ),
        Alert(
            "ResilienceWatchesRestart",
            f"{_sum('increase(resilience_operator_watch_restarts_total[15m])', 'resource')} > 30",
            "warning",
            "Watches of the Resilience Operator break again and again",
            "The watch of {{ $labels.resource }} began anew {{ $value | humanize }} times within 15 minutes.",
            "Look at the API server and at proxies between; changes are still seen, every 5 minutes at the latest.",
        ),
        Alert(
            "ResiliencePinsFought",
            f"{_sum('increase(resilience_operator_pins_lost_total[1h])')} > 3",
            "warning",
            "Somebody fights the Resilience Operator over a Service",
            "Pins of releases were taken off Services {{ $value | humanize }} times within an hour, and put back.",
            "Tell what applies the Service to leave its selector alone: docs/operations/gitops.md.",
        ),
    ]


def _undelivered() -> list[Alert]:
    return [
        Alert(
            "ResilienceAlertsUndelivered",
            f"max by (installation, {_OF}) ({of_installation('resilience_receiver_dead_letters')}) > 0",
            "critical",
            "AlertReceiver {{ $labels.namespace }}/{{ $labels.name }} cannot be reached",
            "{{ $value }} alerts could not be delivered to it in time.",
            "kubectl describe -n {{ $labels.namespace }} arcv {{ $labels.name }}: its failure says why.",
            keep=5 * _MINUTE,
        ),
    ]
