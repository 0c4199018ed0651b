"""Autoscalers beside the operator: one on memory through a release, and pods that are resized in place."""

import json
from typing import Final

import pytest

from tests.support.counts import PROOF, Figures
from tests.support.kube import Object, wait_until
from tests.support.release import Release
from tests.support.rollouts import adopted, ended, rollout, shop, template, trace
from tests.support.shop_manifests import autoscaler, policies
from tests.support.shop_manifests import shop as plain_shop
from tests.support.space import Space, stays

MOST: Final = 6
MEBI: Final = 2**20
# Figures of new pods come late on a busy machine; an autoscaler that may act does so within this.
WARM: Final = "150s" if PROOF else "2s"
HELD: Final = "resilience.dev/scale-up-policy"
USAGE: Final[Object] = {"name": "usage", "scope": "Pod", "usage": {"memory": {"warning": "15%", "critical": "20%"}}}
LEAKS: Final[Object] = {"name": "leak", "memory": {"above": "20%", "for": "2s"}}


def on_memory(mebi: int) -> Object:
    """An autoscaler that aims at so much memory in each pod."""
    made = autoscaler("shop", least=1, most=MOST)
    target = {"type": "AverageValue", "averageValue": f"{mebi}Mi"}
    made["spec"]["metrics"] = [{"type": "Resource", "resource": {"name": "memory", "target": target}}]
    return made


def used(space: Space) -> int:
    """MiB that a pod of the shop uses on the average, once there are figures of two."""

    def probe() -> int | None:
        answer = json.loads(
            space.kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{space.namespace}/pods")
        )
        amounts = [int(pod["containers"][0]["usage"]["memory"].removesuffix("Ki")) for pod in answer["items"]]
        return sum(amounts) // len(amounts) // 1024 if len(amounts) >= 2 else None

    return wait_until(probe, what="figures of the pods", timeout=90, every=1)


def policy(space: Space) -> str:
    """The policy of the autoscaler for scaling up; empty where it has none of its own."""
    behaviour = space.get("horizontalpodautoscalers", "shop")["spec"].get("behavior") or {}
    return str((behaviour.get("scaleUp") or {}).get("selectPolicy", ""))


def most_replicas(space: Space, before: str) -> tuple[int, set[str], Object]:
    """The most replicas until the release has ended, the policies for scaling up meanwhile, and the result."""
    most, policies_seen = 0, set()

    def probe() -> bool:
        nonlocal most
        most = max(most, space.get("deployments", "shop")["spec"]["replicas"])
        policies_seen.add(policy(space))
        return trace(space) != before and not (space.status().get("rollout") or {}).get("candidate")

    wait_until(probe, what="the end of the release", timeout=400)
    return most, policies_seen, ended(space, before)


def test_an_autoscaler_on_memory_does_not_run_up_through_a_release(
    operator: Release, space: Space, figures: Figures
) -> None:
    # given: pods at about 80 % of what the autoscaler aims at, whatever they do; at small counts less is known
    adopted(space, *shop("v1", replicas=2, rollout=rollout(blueGreen={"warmPeriod": WARM})))
    space.apply(on_memory(round(used(space) / 0.8) if PROOF else 90))
    spec = space.get("horizontalpodautoscalers", "shop")["spec"]
    start, before = space.get("deployments", "shop")["spec"]["replicas"], trace(space)
    # when
    space.apply(template("v2", replicas=start))
    most, seen, result = most_replicas(space, before)
    # then
    figures.write(start=start, most=most)
    assert result["result"] == "Succeeded", result
    assert most <= start
    assert "Disabled" in seen
    hpa = wait_until(lambda: not_held(space), what="the autoscaler as it was", timeout=10)
    assert hpa["spec"] == spec


def not_held(space: Space) -> Object | None:
    hpa = space.get("horizontalpodautoscalers", "shop")
    return None if HELD in (hpa["metadata"].get("annotations") or {}) else hpa


@pytest.mark.skipif(not PROOF, reason="the autoscaler looks every 15 s, at figures that are half a minute old")
def test_control_an_autoscaler_that_is_left_alone_runs_up(operator: Release, space: Space, figures: Figures) -> None:
    # given
    adopted(space, *shop("v1", replicas=2, rollout=rollout(blueGreen={"warmPeriod": WARM})))
    space.apply(on_memory(round(used(space) / 0.8)))
    before = trace(space)
    # when: somebody undoes what holds it, so it is left alone
    space.apply(template("v2", replicas=2))
    wait_until(lambda: policy(space) == "Disabled", what="the hold")
    space.patch("hpa", "shop", {"spec": {"behavior": {"scaleUp": {"selectPolicy": "Max"}}}})
    most, _, _ = most_replicas(space, before)
    # then: or the test above proves nothing
    figures.write(start=2, most=most)
    assert most > 2


def resize(space: Space, pod: str, limit: str) -> None:
    """Resizes the shop's container in place, and waits until the kubelet has done it."""
    wanted = {"spec": {"containers": [{"name": "shop", "resources": {"limits": {"memory": limit}}}]}}
    space.kubectl("patch", "pod", pod, "--subresource", "resize", "--type=strategic", "-p", json.dumps(wanted))

    def done() -> bool:
        (status,) = space.get("pods", pod)["status"]["containerStatuses"]
        return bool((status.get("resources") or {}).get("limits", {}).get("memory") == limit)

    wait_until(done, what=f"{limit} in place")


@pytest.mark.long
def test_a_share_of_memory_is_of_the_limit_that_the_pod_was_resized_to(
    operator: Release, space: Space, figures: Figures
) -> None:
    # given: about 30 MiB are more than 20 % of the template's 128 MiB, and less than 10 % of what the pod has
    space.start(*plain_shop())
    (pod,) = (each["metadata"]["name"] for each in space.shop_pods())
    resize(space, pod, "512Mi")
    # when
    found = space.get("resilientservices", "shop")["spec"].get("health", {}).get("checks", [])
    space.patch(
        "resilientservices", "shop", {"spec": {"health": {"checks": [*found, USAGE]}, "restart": policies(LEAKS)}}
    )
    # then
    check = wait_until(lambda: measured(space), what="a figure", timeout=90)
    figures.write(message=check["message"])
    assert check["state"] == "Healthy" and "of 512 MiB" in check["message"], check
    stays(lambda: [each["metadata"]["name"] for each in space.shop_pods()] == [pod], seconds=3, what="the same pod")
    if PROOF:
        # control: at the template's limit the same pod is restarted, after the next full look, within five minutes
        resize(space, pod, "128Mi")
        wait_until(lambda: pod not in {each["metadata"]["name"] for each in space.shop_pods()}, what="it", timeout=360)


def measured(space: Space) -> Object | None:
    checks = (space.status().get("health") or {}).get("checks") or []
    return next((check for check in checks if check["name"] == "usage" and check["state"] != "Unknown"), None)
