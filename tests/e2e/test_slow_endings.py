"""A pod that ignores SIGTERM, with a grace period of ten minutes, holds nothing back once no client is led to it."""

from typing import Final

from tests.support.kube import Object
from tests.support.release import Release
from tests.support.rollouts import adopted, checks, reached, release, rollout, template
from tests.support.shop_manifests import resilient, service
from tests.support.space import Space

# The mask of blocked signals outlives exec: SIGTERM never arrives.
_DEAF: Final = (
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]);"
    " os.execv(sys.executable, [sys.executable, '-m', 'shop'])"
)


def deaf(version: str) -> Object:
    command = ["/opt/venv/bin/python", "-c", _DEAF]
    return template(version, pod={"terminationGracePeriodSeconds": 600}, command=command)


def test_pods_that_take_long_to_end_hold_back_neither_a_restart_nor_the_next_release(
    operator: Release, space: Space
) -> None:
    try:
        adopted(space, deaf("v0"), service(), resilient(health=checks(), rollout=rollout()))

        # when: a restart, a release, and a hotfix, one after the other
        restarted = space.restart()
        of_restart = space.ending()
        released = release(space, deaf("v1"))
        of_release = space.ending()
        space.apply(deaf("v2"))
        reached(space, "Preparing")

        # then: each was over, and the next one began, while the pods of those before still ended
        assert restarted["result"] == released["result"] == "Succeeded", (restarted, released)
        assert of_restart and of_restart < of_release
        assert of_release <= space.ending()
    finally:
        # A shorter grace period takes the place of the one that runs: the namespace is to go soon.
        space.kubectl("delete", "rsvc,deployments", "--all", "--wait=false")
        space.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
