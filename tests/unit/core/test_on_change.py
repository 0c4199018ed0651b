"""restart.onChange: whose content is known, when it has changed, and which pods are restarted for it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from resilience.api.reasons import HealthState, Reason
from resilience.api.restarts import ConfigKind
from resilience.api.status import Status
from resilience.api.status_restarts import ConfigStatus, ContentStatus, RestartsStatus, RestartStatus
from resilience.core.model.check_state import NOT_LABELLED, CheckState
from resilience.core.model.decision import Decision, TakeOver
from resilience.core.model.observation import Pod, Turn
from resilience.core.model.probes import ContentProbe
from resilience.core.model.workload import ConfigReference, Template
from resilience.core.reconcile import decide
from resilience.core.restarts import triggers
from resilience.core.restarts.content import CONTENT_CHECK, MOST_MOUNTED, check_name
from tests.support.factories import (
    LABELS,
    LONG_AGO,
    NOW,
    RS,
    make_check,
    make_container,
    make_context,
    make_pod,
    make_resource,
    make_seen,
    make_view,
    make_workload,
)
from tests.support.firing import HUNG, fires, past, policy_spec
from tests.support.model import stored

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
CHANGES = {"onChange": [{"kind": "Secret", "name": "token"}, {"kind": "ConfigMap", "name": "settings"}]}
TOKEN, SETTINGS = check_name("Secret", "token"), check_name("ConfigMap", "settings")
A, B = make_pod("a"), make_pod("b")
SETTLED = NOW - 6 * SECOND


def knows(token: str, status: Status | None = None, *, settings: str = "x-one") -> Status:
    """A status in which the pods have this content."""
    contents = [
        ContentStatus(kind=kind, name=name, fingerprint=fingerprint, changed_at=LONG_AGO)
        for kind, name, fingerprint in (("Secret", "token", token), ("ConfigMap", "settings", settings))
    ]
    status = status or Status(observed_generation=1)
    return status.model_copy(update={"restarts": status.restarts.model_copy(update={"contents": contents})})


def read(check: str, fingerprint: str, since: datetime = SETTLED) -> dict[str, CheckState]:
    """A check that reads this content since then; one that has not run when there is none."""
    return {check: make_check(check, fingerprint=fingerprint, read_since=since if fingerprint else None)}


def unread(check: str, message: str = "label it", **fields: Any) -> dict[str, CheckState]:
    """A check that cannot read its object."""
    return {check: make_check(check, HealthState.UNKNOWN, silent=True, message=message, **fields)}


def looked(
    *pods: Pod,
    reads: str = "",
    since: datetime = SETTLED,
    status: Status | None = None,
    turn: Turn | None = None,
    checks: Any = None,
    now: datetime = NOW,
    restart: Any = None,
    **workload: Any,
) -> Decision:
    """A pass that reads this content, since so long; a turn is granted unless one is given."""
    pods = pods or (A, B)
    seen = make_seen(
        *pods,
        checks=read(TOKEN, reads, since) | read(SETTINGS, "x-one", LONG_AGO) | (checks or {}),
        turn=turn or Turn(granted=True),
        workload=make_workload(replicas=len(pods), **workload),
    )
    spec = policy_spec(HUNG, **CHANGES | (restart or {}))
    return decide(make_resource(spec, status=status), seen, now)


def status_of(found: Decision) -> Status:
    assert found.status is not None
    return stored(found.status)


def known(found: Decision, name: str = "token") -> str:
    """The content of the object that the pods have, by status."""
    return {entry.name: entry.fingerprint for entry in status_of(found).restarts.contents}.get(name, "")


def test_each_object_is_read_by_itself_and_once() -> None:
    spec = policy_spec(onChange=[*CHANGES["onChange"], {"kind": "Secret", "name": "token", "optional": True}])

    token, settings = triggers.targets(make_context(make_resource(spec), make_seen(A)))

    assert token.probe == ContentProbe("shop", "Secret", "token", optional=True)
    assert settings.probe == ContentProbe("shop", "ConfigMap", "settings")
    assert (token.interval, token.failure_threshold, token.pod_uid) == (20 * SECOND, 1, "")
    assert triggers.targets(make_context(make_resource(policy_spec()), make_seen(A))) == ()


@pytest.mark.parametrize(
    ("reads", "ago", "interval"), [("x-two", 4, 20), ("x-two", 5, 1), ("x-two", 6, 20), ("x-one", 5, 20), ("", 5, 20)]
)
def test_a_change_that_has_settled_is_read_once_more(reads: str, ago: int, interval: int) -> None:
    # given: whatever else keeps it from restarting
    found = looked(reads=reads, since=NOW - ago * SECOND, status=knows("x-one"), turn=Turn(False, 1, MINUTE))

    # Together, so that a change of the other one is part of this restart.
    intervals = [each.interval for each in found.checks if each.check.startswith(CONTENT_CHECK)]
    assert intervals == [interval * SECOND] * 2


def test_no_check_of_the_spec_can_have_the_name_of_the_content() -> None:
    with pytest.raises(ValueError, match="name"):
        policy_spec(checks=[{"name": TOKEN, "http": {"path": "/"}}])


def test_what_is_read_first_is_what_the_pods_have() -> None:
    found = looked(reads="x-one")

    assert status_of(found).restart is None
    assert status_of(found).restarts.contents == [
        ContentStatus(kind="Secret", name="token", fingerprint="x-one", changed_at=SETTLED),
        ContentStatus(kind="ConfigMap", name="settings", fingerprint="x-one", changed_at=LONG_AGO),
    ]


@pytest.mark.parametrize(
    ("reads", "since", "begins", "again"),
    [
        ("x-one", LONG_AGO, False, None),
        ("x-two", NOW - 6 * SECOND, True, None),
        ("x-two", NOW - 5 * SECOND, False, SECOND),
        ("x-two", NOW, False, 5 * SECOND),
        # Not read: nobody knows.
        ("", LONG_AGO, False, None),
    ],
)
def test_a_change_restarts_once_it_has_settled(reads: str, since: datetime, begins: bool, again: Any) -> None:
    found = looked(reads=reads, since=since, status=knows("x-one"))

    assert (status_of(found).restart is not None) is begins
    assert known(found) == ("x-two" if begins else "x-one")
    if not begins:
        assert found.requeue_after == again


def test_a_change_is_one_restart_of_all_pods_that_are_older() -> None:
    since = NOW - MINUTE
    pods = (A, make_pod("same", created=since), make_pod("young", created=since + SECOND))

    first = looked(*pods, reads="x-two", since=since, status=knows("x-one"))
    then = looked(
        *pods, reads="x-two", since=since, status=status_of(first), now=NOW + 2 * SECOND, restart={"surge": 5}
    )

    restart = status_of(first).restart
    assert restart is not None and (restart.total, restart.only, restart.policies) == (2, [], [])
    assert restart.reason == "the content of Secret token changed"
    assert status_of(first).restarts.recent == [] and known(first) == "x-two"
    assert {each.pod.name for each in then.actions if isinstance(each, TakeOver)} == {"a", "same"}
    done = status_of(then).model_copy(update={"restart": None})
    assert status_of(looked(*pods, reads="x-two", since=since, status=done)).restart is None


@pytest.mark.parametrize("pods", [(make_pod("young", created=NOW - SECOND),), ()], ids=["all-are-younger", "none"])
def test_pods_that_have_the_change_already_stay(pods: tuple[Pod, ...]) -> None:
    seen = make_seen(*pods, checks=read(TOKEN, "x-two"), turn=Turn(granted=True))

    found = decide(make_resource(policy_spec(**CHANGES), status=knows("x-one")), seen, NOW)

    assert status_of(found).restart is None and known(found) == "x-two" and found.requeue_after is None


def test_a_new_key_is_no_change_of_content() -> None:
    found = looked(reads="y-two", status=knows("x-one"))

    assert status_of(found).restart is None and known(found) == "y-two"


def test_objects_that_nobody_watches_any_more_are_forgotten() -> None:
    seen = make_seen(A, quiet=True)

    found = decide(make_resource(policy_spec(), status=knows("x-one")), seen, NOW)

    assert status_of(found).restarts.contents == []


def test_it_is_not_bound_by_the_limits_of_policies() -> None:
    limits = {"coolDown": "1h", "budget": {"max": 1}, "windows": [{"schedule": "0 2 * * *", "duration": "1h"}]}

    found = looked(reads="x-two", status=knows("x-one", past(HUNG, NOW)), restart=limits, checks=fires(HUNG, A))

    restart = status_of(found).restart
    assert restart is not None and (restart.total, restart.policies) == (2, [])
    assert len(status_of(found).restarts.recent) == 1


def test_it_waits_for_its_turn() -> None:
    found = looked(reads="x-two", status=knows("x-one"), turn=Turn(False, 1, MINUTE))

    assert status_of(found).restart is None and found.ticket is not None and known(found) == "x-one"
    assert status_of(found).restarts.blocked_by == "Queued"
    assert "has changed; a few services restart pods at a time" in status_of(found).explanation


def test_what_cannot_be_restarted_is_told() -> None:
    found = looked(reads="x-two", status=knows("x-one"), strategy="Recreate")

    assert (status_of(found).restart, status_of(found).restarts.blocked_by) == (None, "Recreate")
    assert [each.reason for each in found.events] == [Reason.POLICY_BLOCKED]
    assert "What restart.onChange names has changed; strategy Recreate" in status_of(found).explanation


def test_a_change_during_a_restart_comes_after_it() -> None:
    running = RestartStatus(trace_id="t", started_at=NOW - MINUTE, born_before=LONG_AGO, total=2)
    status = knows("x-one").model_copy(update={"restart": running})

    during = looked(reads="x-two", status=status)
    after = looked(reads="x-two", status=knows("x-one"))

    assert known(during) == "x-one"
    assert status_of(during).restart is not None and status_of(after).restart is not None
    assert status_of(during).restart.trace_id == "t" != status_of(after).restart.trace_id  # type: ignore[union-attr]


@pytest.mark.parametrize("last", ["x-one", "x-two"])
def test_content_that_cannot_be_read_is_named_and_changes_nothing(last: str) -> None:
    seen = make_seen(A, checks=unread(TOKEN, fingerprint=last, read_since=LONG_AGO), turn=Turn(granted=True))

    found = decide(make_resource(policy_spec(**CHANGES), status=knows("x-one")), seen, NOW)

    assert "restart.onChange cannot be judged: label it" in status_of(found).explanation
    assert status_of(found).restart is None
    assert status_of(found).restarts == RestartsStatus(summary="0", contents=knows("x-one").restarts.contents)


@pytest.mark.parametrize("silent", [True, False], ids=["cannot-be-read", "has-not-been-read"])
def test_one_that_is_missing_silences_none_of_the_others(silent: bool) -> None:
    # given
    token = unread(TOKEN, "there is no Secret token") if silent else read(TOKEN, "")

    # when
    found = looked(checks=token | read(SETTINGS, "x-two"), status=knows("x-one"))

    # then
    restart = status_of(found).restart
    assert restart is not None and restart.reason == "the content of ConfigMap settings changed"
    assert (known(found), known(found, "settings")) == ("x-one", "x-two")
    assert ("there is no Secret token" in status_of(found).explanation) is silent


@pytest.mark.parametrize(("again", "begins"), [("x-one", False), ("x-two", True)], ids=["as-before", "changed"])
def test_an_object_that_was_deleted_is_compared_when_it_is_there_again(again: str, begins: bool) -> None:
    gone = looked(checks=unread(TOKEN, "there is no Secret token"), status=knows("x-one"))

    found = looked(reads=again, status=status_of(gone))

    assert status_of(gone).restart is None and (status_of(found).restart is not None) is begins


def test_changes_of_several_objects_are_one_restart() -> None:
    both = looked(reads="x-two", checks=read(SETTINGS, "x-two", SETTLED - 4 * SECOND), status=knows("x-one"))
    early = looked(
        reads="x-two", since=NOW - SECOND, checks=read(SETTINGS, "x-two", NOW - 8 * SECOND), status=knows("x-one")
    )

    restart = status_of(both).restart
    assert restart is not None and restart.reason == "the content of Secret token, ConfigMap settings changed"
    assert (known(both), known(both, "settings")) == ("x-two", "x-two")
    assert status_of(early).restart is None and early.requeue_after == 4 * SECOND


def test_an_object_that_never_rests_delays_the_others_for_a_minute() -> None:
    def at(settled_for: timedelta) -> Decision:
        settings = read(SETTINGS, "x-two", NOW - settled_for)
        return looked(reads="x-new", since=NOW - SECOND, checks=settings, status=knows("x-old"))

    assert status_of(at(MINUTE - SECOND)).restart is None and at(MINUTE - SECOND).requeue_after == SECOND
    restart = status_of(at(MINUTE)).restart
    assert restart is not None and restart.reason == "the content of ConfigMap settings changed"
    assert known(at(MINUTE)) == "x-old"


@pytest.mark.parametrize(("before", "after"), [("x-absent", "x-one"), ("x-one", "x-absent")], ids=["comes", "goes"])
def test_an_optional_object_that_comes_or_goes_is_a_change(before: str, after: str) -> None:
    found = looked(reads=after, status=knows(before))

    assert status_of(found).restart is not None and known(found) == after


def test_the_one_hash_of_the_version_before_restarts_nobody() -> None:
    # given: a status of the version before, as the API server has it
    old = {"restarts": {"config": {"fingerprint": "x-one", "changedAt": "2026-02-28T12:00:00Z"}}}
    status = Status.model_validate(old)
    assert status.restarts.config == ConfigStatus(fingerprint="x-one", changed_at=LONG_AGO)

    # when
    first = looked(reads="x-two", status=status)
    second = looked(reads="x-two", status=status_of(first))
    third = looked(reads="x-three", status=status_of(second))

    # then: the first content is what the pods have, and from then on changes count
    assert (status_of(first).restart, status_of(second).restart) == (None, None)
    assert status_of(first).restarts.config is None and known(first) == "x-two"
    assert status_of(third).restart is not None


MOUNTED = {"onChange": [{"mounted": True, "ignore": ["certificate"]}, {"kind": "Secret", "name": "token"}]}
LISTED = (
    ConfigReference(ConfigKind.CONFIG_MAP, "settings"),
    ConfigReference(ConfigKind.CONFIG_MAP, "certificate"),
    ConfigReference(ConfigKind.SECRET, "token", optional=True),
    ConfigReference(ConfigKind.SECRET, "extra", optional=True),
)


def mounts(*configs: ConfigReference) -> dict[str, Any]:
    """Pods of a ReplicaSet whose template has these, while the Deployment's newest one has another."""
    other = Template(LABELS, (make_container(),), configs=(ConfigReference(ConfigKind.CONFIG_MAP, "newest"),))
    old = replace(RS, name="old", replicas=0, configs=(ConfigReference(ConfigKind.CONFIG_MAP, "old"),))
    view = make_view(A, B, replica_sets=(replace(RS, configs=configs), old))
    return {"view": view, "workload": make_workload(replicas=2, template=other)}


def test_what_the_pods_mount_is_found_without_what_is_ignored() -> None:
    spec = policy_spec(**MOUNTED)

    found = triggers.targets(make_context(make_resource(spec), make_seen(**mounts(*LISTED))))

    assert [each.probe for each in found] == [
        # Who names an object decides whether it is optional.
        ContentProbe("shop", "Secret", "token"),
        ContentProbe("shop", "ConfigMap", "settings"),
        ContentProbe("shop", "Secret", "extra", optional=True),
    ]


def test_without_replica_sets_the_template_says_what_pods_mount() -> None:
    template = Template(LABELS, (make_container(),), configs=LISTED[:1])
    seen = make_seen(A, view=make_view(A, replica_sets=()), workload=make_workload(replicas=1, template=template))

    found = triggers.targets(make_context(make_resource(policy_spec(onChange=[{"mounted": True}])), seen))

    assert [each.check for each in found] == [SETTINGS]


def test_mounted_secrets_without_the_label_are_left_out_and_named_once() -> None:
    # given
    label = "kubectl label secret extra resilience.dev/readable=true"
    left_out = unread(check_name("Secret", "extra"), label, reason=NOT_LABELLED)
    seen = make_seen(
        **mounts(*LISTED), checks=left_out | read(TOKEN, "x-one") | read(SETTINGS, "x-two"), turn=Turn(granted=True)
    )

    # when
    found = decide(make_resource(policy_spec(**MOUNTED), status=knows("x-one")), seen, NOW)

    # then
    restart, explanation = status_of(found).restart, status_of(found).explanation
    assert restart is not None and restart.reason == "the content of ConfigMap settings changed"
    assert "leaves out mounted Secrets that are not labelled resilience.dev/readable=true: extra; label" in explanation
    assert explanation.count("extra") == 1 and "cannot be judged" not in explanation


def test_the_objects_that_are_found_are_bounded_and_what_is_left_out_is_counted() -> None:
    # given
    many = [ConfigReference(ConfigKind.CONFIG_MAP, f"c{number:02}") for number in range(MOST_MOUNTED + 3)]
    context = make_context(make_resource(policy_spec(onChange=[{"mounted": True}])), make_seen(**mounts(*many)))

    # then
    assert [each.check for each in triggers.targets(context)] == [
        check_name("ConfigMap", each.name) for each in many[:MOST_MOUNTED]
    ]
    (note,) = triggers.not_judged(context)
    assert note.startswith("restart.onChange leaves out 3 mounted objects")


def test_of_many_objects_that_cannot_be_read_a_few_are_named() -> None:
    many = [{"kind": "ConfigMap", "name": f"c{number}"} for number in range(9)]
    silent = {name: state for each in many for name, state in unread(check_name(**each), f"no {each['name']}").items()}

    (note,) = triggers.not_judged(make_context(make_resource(policy_spec(onChange=many)), make_seen(A, checks=silent)))

    assert note == "restart.onChange cannot be judged: no c0; no c1; no c2; no c3; no c4 and 4 more"
