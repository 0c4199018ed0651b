"""A blue-green release loses no request, though the application dies at once on SIGTERM, whatever it is doing."""

from itertools import pairwise

import pytest

from resilience.api.scalars import parse_duration
from tests.support.counts import PROOF, Figures, count
from tests.support.kube import Object, wait_until
from tests.support.load_report import Result
from tests.support.release import Release
from tests.support.rollouts import (
    Endpoints,
    adopted,
    at_rest,
    ended,
    in_flight,
    reached,
    release,
    rollout,
    serves,
    shop,
    template,
    trace,
)
from tests.support.shop_manifests import budget, deployment, service
from tests.support.space import Space
from tests.support.spending import pause
from tests.support.traffic import LIGHT, Traffic, traffic


def overlaps(result: Result) -> list[float]:
    """For each release the seconds in which new connections met both versions."""
    seen = sorted(result.new.versions.values(), key=lambda each: each.first)
    return [round(max(old.last - new.first, 0.0), 2) for old, new in pairwise(seen)]


def own(clients: Traffic) -> Result:
    assert clients.own is not None
    return clients.own


@pytest.mark.load
@pytest.mark.long
@pytest.mark.parametrize("replicas", [1, 3])
def test_releases_under_load_lose_nothing(operator: Release, space: Space, figures: Figures, replicas: int) -> None:
    # given: a shop under blue-green with gates and a strict budget, under load
    adopted(space, *shop("v0", replicas=replicas), budget("shop", maxUnavailable=0))
    releases, durations, steps = count(2 if replicas == 1 else 1, proof=20), [], []

    # when: it is released again and again
    with Endpoints(space) as endpoints, traffic(space.url(), rate=count(10, proof=20)) as clients:
        pause(1)
        for number in range(1, releases + 1):
            result = release(space, template(f"v{number}", replicas=replicas))
            # then: it succeeded, and nothing of it is left
            assert result["result"] == "Succeeded", result
            assert result["requests"]["failed"] == 0, result
            assert result.get("keptConnectionsCut", 0) == 0, result
            assert serves(space) == {f"v{number}"}
            at_rest(space)
            durations.append(parse_duration(result["duration"]).total_seconds())
            steps = [f"{each['name']} {each['duration']}" for each in result["steps"]]
        pause(1)

    # then: no client noticed, there never were fewer endpoints, and both versions met for a moment only
    both = overlaps(own(clients))
    figures.write(
        releases=releases, replicas=replicas, durations=durations, overlap=both, steps=steps, **clients.figures()
    )
    assert clients.failed == 0, clients.failures()
    assert endpoints.fewest() >= replicas, endpoints.story()
    assert len(both) == releases
    assert not PROOF or max(both) < 3, both


@pytest.mark.plain
def test_control_a_switch_without_the_operator_loses_requests(space: Space, figures: Figures) -> None:
    # given: the same application, and a person who does blue-green by hand: another Deployment, then the selector
    space.apply(template("v0"), service())
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")

    def colour(number: int) -> Object:
        made = deployment("shop", replicas=1, env={"VERSION": f"v{number}"})
        made["metadata"]["name"] = f"shop-{number}"
        labels = {"app.kubernetes.io/name": f"shop-{number}"}
        made["spec"]["selector"]["matchLabels"] = labels
        made["spec"]["template"]["metadata"]["labels"] = labels
        return made

    # when: the old one is taken away as soon as the new one is ready
    with traffic(space.url()) as clients:
        for number in range(1, count(2, proof=20) + 1):
            space.apply(colour(number))
            space.kubectl("rollout", "status", f"deployment/shop-{number}", "--timeout=60s")
            space.patch("service", "shop", {"spec": {"selector": {"app.kubernetes.io/name": f"shop-{number}"}}})
            space.delete("deployment", "shop" if number == 1 else f"shop-{number - 1}", "--wait=false")
            pause(2)

    # then: the clients notice, or these tests prove nothing
    figures.write(**clients.figures())
    assert clients.failed > 0


def test_promotion_by_hand_and_a_preview(operator: Release, space: Space) -> None:
    # given
    settings = {"promotion": "Manual", "warmPeriod": "1s", "previewService": "shop-preview", "previewReplicas": 1}
    adopted(space, *shop("v1", replicas=2, rollout=rollout(blueGreen=settings)))
    before = trace(space)
    # when
    space.apply(template("v2", replicas=2))
    # then: one candidate waits, ready, and the preview leads to it and to nothing else
    space.wait_for("Ready", "False", reason="AwaitingPromotion", timeout=40)
    assert "promote-requested-at" in space.status()["explanation"]
    green = space.get("deployments", "shop-green")
    assert green["spec"]["replicas"] == 1
    selector = space.get("services", "shop-preview")["spec"]["selector"]
    pods = [pod for pod in space.shop_pods() if pod["metadata"]["labels"].items() >= selector.items()]
    assert [pod["metadata"]["labels"].get("resilience.dev/track") for pod in pods] == ["green"]
    # when
    value = space.request("promote")
    # then
    result = ended(space, before)
    assert result["result"] == "Succeeded", result
    assert space.handled("promote")["value"] == value
    assert serves(space) == {"v2"}
    at_rest(space)
    # and: promoting with nothing to promote says so
    value = space.request("promote")
    wait_until(lambda: space.handled("promote").get("value") == value, what="an answer")
    assert "no candidate waits" in space.handled("promote")["note"]


def test_a_newer_template_supersedes_a_candidate(operator: Release, space: Space, figures: Figures) -> None:
    # given: a candidate that is being prepared
    gate = {"checks": ["ready"], "for": "20s"}
    adopted(space, *shop("v1", rollout=rollout(before=gate)))
    with traffic(space.url(), **LIGHT) as clients:
        space.apply(template("v2"))
        reached(space, "Preparing")
        # when: the next one comes, and its gate is short
        short = rollout(before={"checks": ["ready"], "for": "1s"})
        space.apply(template("v3"), shop("v3", rollout=short)[-1])
        # then: the first ends without having served, the second is released
        wait_until(lambda: serves(space) == {"v3"} and not in_flight(space), what="v3", timeout=60)
    # What was there first may have been seen while it still came up, and be told as a release too.
    results = [each["result"] for each in space.status()["history"]][-2:]
    figures.write(results=results, **clients.figures())
    assert results == ["Superseded", "Succeeded"]
    assert "v2" not in own(clients).versions
    assert clients.failed == 0, clients.failures()
    at_rest(space)


def test_an_abort_goes_back_and_retry_tries_again(operator: Release, space: Space, figures: Figures) -> None:
    # given: a release whose candidate serves
    adopted(space, *shop("v1", rollout=rollout(blueGreen={"warmPeriod": "60s"})))
    with traffic(space.url(), **LIGHT) as clients:
        before = trace(space)
        space.apply(template("v2"))
        reached(space, "Warm")
        # when
        space.request("abort")
        # then
        result = ended(space, before)
        assert result["result"] == "Aborted", result
        assert serves(space) == {"v1"}
        assert space.condition("Stalled")["reason"] == "RolloutFailed"
        # and: a second abort is a no-op that says so
        value = space.request("abort")
        wait_until(lambda: space.handled("abort").get("value") == value, what="an answer")
        assert space.handled("abort")["note"] == "nothing was in flight"
        # when: it is asked for again, and promoted before its time is over
        before = trace(space)
        space.request("retry")
        reached(space, "Warm")
        space.request("promote")
        # then
        result = ended(space, before)
    figures.write(**clients.figures())
    assert result["result"] == "Succeeded", result
    assert serves(space) == {"v2"}
    assert clients.failed == 0, clients.failures()
    at_rest(space)
    space.wait_for("Ready", "True")
