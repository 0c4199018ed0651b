"""Notes on the Deployment go stale: a later API server defaults one more field, a later operator hashes anew.

Nothing about the pods has changed then. So nothing may be released, and nothing that serves may count as failed.
"""

from typing import Final

import pytest

from resilience.adapters.kube import parse, parse_workload
from resilience.api.names import ANNOTATION_FAILED, ANNOTATION_SERVING
from resilience.core.model.actions import CreateGreen
from resilience.core.model.decision import Decision
from resilience.core.model.observation import Observation, PodsView
from tests.support.factories import make_endpoint, make_resource
from tests.support.release_model import Kind
from tests.support.release_operator import blue_green
from tests.variety import manifests
from tests.variety.acting import Acting, adopted
from tests.variety.claims import decided, status_of
from tests.variety.manifests import Object

STALE: Final = "0123456789"
TEMPLATE: Final = "containers: [{name: app, image: 'shop:1', ports: [{name: http, containerPort: 8080}]}]"


def stale() -> Acting:
    """At rest, with a note that fits no template any more."""
    acting = adopted()
    acting.model.notes[ANNOTATION_SERVING] = STALE
    acting.model.version += 1
    return acting


def test_a_version_that_serves_well_is_never_marked_as_failed() -> None:
    acting = stale()

    acting.run()

    assert acting.model.notes.get(ANNOTATION_FAILED) is None
    assert acting.model.status.rollout.failure is None


def test_a_good_release_still_begins() -> None:
    acting = stale()

    acting.model.change("t1", Kind())
    acting.run()

    assert acting.versions == {"t1"}


def test_with_the_note_that_fits_it_does() -> None:
    acting = adopted()

    acting.model.change("t1", Kind())
    acting.run()

    assert acting.versions == {"t1"} and ANNOTATION_FAILED not in acting.model.notes


def defaulted() -> Object:
    """The same template as a later API server shows it: it defaults one more field, on reading as well."""
    made = manifests.template(TEMPLATE)
    made["spec"]["containers"][0]["restartPolicyRules"] = []
    return made


def looked(now: Object, *, noted: str) -> Decision:
    """One look at a service at rest, whose template is shown like this and was noted like that."""
    raw = manifests.deployment(now, annotations={ANNOTATION_SERVING: noted}, paused=True)
    workload, pods = manifests.read_workload(raw), [manifests.read_pod(manifests.pod(now, name)) for name in "ab"]
    sets = (parse_workload.replica_set(manifests.replica_set(now), kept=noted),)
    listed = tuple(make_endpoint(pod) for pod in pods)
    service = parse.service(manifests.service("http"))
    seen = Observation(workload=workload, services=(service,), endpoints=listed, pods=PodsView(tuple(pods), sets))
    return decided(make_resource(blue_green(progressDeadline="20s")), seen)


@pytest.mark.parametrize("changed", [False, True], ids=["as before", "one more default"])
def test_a_field_that_the_api_server_defaults_is_no_new_version(changed: bool) -> None:
    noted = parse_workload.fingerprint(manifests.template(TEMPLATE))

    decision = looked(defaulted() if changed else manifests.template(TEMPLATE), noted=noted)

    assert status_of(decision).rollout.candidate is None
    assert not any(isinstance(action, CreateGreen) for action in decision.actions)
