"""Applications that nobody here wrote: go-httpbin, and nginx as Debian packages it, as a proxy in front of it.

Neither knows a drain signal. nginx ends at once on SIGTERM, and cuts what its clients keep.
"""

from typing import Final

import pytest

from tests.cluster import engine, httpbin
from tests.cluster.images import NGINX
from tests.cluster.paths import cache
from tests.cluster.progress import Progress
from tests.cluster.shell import exclusive
from tests.support.counts import Figures, count
from tests.support.kube import Object
from tests.support.release import Release
from tests.support.rollouts import Endpoints, adopted, at_rest, release, restart_plainly, rollout, serves
from tests.support.shop_manifests import resilient, selects, service
from tests.support.space import Space
from tests.support.spending import pause
from tests.support.traffic import traffic

KEPT: Final = 10
# Whatever is posted there comes back.
ECHO: Final = "anything"
OK: Final = "/status/200"
READY: Final = {"name": "ready", "http": {"path": OK, "port": "http"}}
LIVE: Final = {"name": "live", "scope": "Pod", "http": {"path": OK, "port": "http"}}


@pytest.fixture(scope="session")
def applications(loaded: None) -> None:
    """The images, on the cluster's nodes."""
    with exclusive(cache() / "images.lock"):
        for image in (NGINX, httpbin.image(progress=Progress())):
            engine.current().provide(image)


def container(name: str, image: str, port: Object, env: dict[str, str]) -> Object:
    return {
        "name": name,
        "image": f"docker.io/library/{image}:dev",
        "imagePullPolicy": "Never",
        "ports": [port],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"httpGet": {"path": OK, "port": port["name"]}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    }


def application(version: str, *, replicas: int) -> Object:
    """The Deployment under the name that the helpers know: clients reach nginx, which asks go-httpbin."""
    proxy = container("nginx", "nginx", {"name": "http", "containerPort": 8080}, {"VERSION": version})
    app = container("httpbin", "go-httpbin", {"name": "app", "containerPort": 9090}, {"PORT": "9090"})
    spec = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 10, "containers": [proxy, app]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "labels": selects("shop")},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selects("shop")},
            "template": {"metadata": {"labels": selects("shop")}, "spec": spec},
        },
    }


def looked_after() -> Object:
    return resilient(
        health={"interval": "1s", "timeout": "900ms", "checks": [READY, LIVE]},
        rollout=rollout(before={"checks": ["ready"], "for": "1s"}, after={"checks": ["ready"], "for": "1s"}),
        drain={"preStop": "0s"},
        verify={"requestsPerSecond": 20, "path": OK},
    )


@pytest.mark.load
def test_they_are_released_and_restarted_under_load(
    operator: Release, applications: None, space: Space, figures: Figures
) -> None:
    # given
    replicas, rounds = count(1, proof=3), count(1, proof=20)
    adopted(space, application("v0", replicas=replicas), service(), looked_after())
    results = []
    with Endpoints(space) as endpoints, traffic(f"{space.url()}{ECHO}", kept=KEPT) as clients:
        pause(1)
        for number in range(1, rounds + 1):
            # when
            results.append(release(space, application(f"v{number}", replicas=replicas)))
            results.append(space.restart())
        pause(1)
    # then: new connections lost nothing, and the operator's own requests neither
    figures.write(rounds=rounds, replicas=replicas, cut_kept=clients.cut_kept, **clients.figures())
    assert {result["result"] for result in results} == {"Succeeded"}, results
    assert clients.failed_new == 0, clients.failures()
    assert all(result["requests"]["failed"] == 0 for result in results), results
    assert endpoints.fewest() >= replicas, endpoints.story()
    assert serves(space) == {f"v{rounds}"}
    at_rest(space)
    # and kept ones lost what was cut with their pod, of which status claims no number: a release moves them twice
    assert all("keptConnectionsCut" not in result for result in results), results
    moves = 3 * rounds
    assert clients.cut_kept <= moves * KEPT * replicas, clients.failures()
    # A proxy that ends a moment after its application says so, before it cuts the connection, too.
    assert clients.failed_kept - clients.cut_kept == clients.statuses_kept.get(502, 0), clients.failures()


@pytest.mark.plain
def test_control_a_plain_restart_of_them_loses_requests(applications: None, space: Space, figures: Figures) -> None:
    # given: the same application, and nobody looks after it
    space.apply(application("v0", replicas=1), service())
    space.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    # when
    with traffic(f"{space.url()}{ECHO}", kept=KEPT) as clients:
        restart_plainly(space, count(2, proof=20))
    # then: the clients notice, or the test above proves nothing
    figures.write(**clients.figures())
    assert clients.failed > 0
