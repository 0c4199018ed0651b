"""Usage from metrics.k8s.io, over a transport in memory."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from resilience.adapters.kube.transport import Transport
from resilience.adapters.kube.usage import KubeUsage
from resilience.core.model.usage import ContainerUsage, PodUsage
from resilience.ports import Invalid, PortError, Refused, Unavailable
from tests.support.transport import FakeTransport

PATH = "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"


def item(name: str = "checkout-1", *, cpu: Any = "250m", memory: Any = "64Mi", **changed: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "timestamp": "2026-07-01T12:00:00Z",
        "window": "10.062s",
        "containers": [{"name": "app", "usage": {"cpu": cpu, "memory": memory}}],
    } | changed


def read(transport: FakeTransport) -> dict[str, PodUsage]:
    return dict(asyncio.run(KubeUsage(transport=cast(Transport, transport)).pods("shop")))


def listed(*items: Any) -> dict[str, PodUsage]:
    return read(FakeTransport(held={PATH: {"kind": "PodMetricsList", "items": list(items)}}))


def test_one_request_gives_all_pods_of_the_namespace() -> None:
    usage = {"cpu": "12345n", "memory": "1Ki"}
    two = item("checkout-2", containers=[{"name": "app", "usage": usage}, {"name": "proxy", "usage": usage}])
    transport = FakeTransport(held={PATH: {"items": [item(), two]}})

    found = read(transport)

    assert transport.read == [PATH]
    assert found == {
        "checkout-1": PodUsage(
            timestamp=datetime(2026, 7, 1, 12, tzinfo=UTC),
            window=timedelta(seconds=10.062),
            containers={"app": ContainerUsage(cpu_cores=0.25, memory_bytes=64 * 2**20)},
        ),
        "checkout-2": PodUsage(
            timestamp=datetime(2026, 7, 1, 12, tzinfo=UTC),
            window=timedelta(seconds=10.062),
            containers=dict.fromkeys(("app", "proxy"), ContainerUsage(cpu_cores=0.000012345, memory_bytes=1024)),
        ),
    }


def test_a_namespace_in_which_nothing_is_measured_is_empty() -> None:
    assert listed() == read(FakeTransport(held={PATH: {"items": None}})) == {}


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12345n", 0.000012345),
        ("7u", 0.000007),
        ("250m", 0.25),
        ("0", 0),
        ("1", 1),
        (1, 1),
        ("1.5", 1.5),
        ("1e3", 1000),
        ("1E3", 1000),
        ("100k", 100_000),
        ("129M", 129_000_000),
        ("2E", 2 * 10**18),
        ("1Ki", 1024),
        ("64Mi", 67_108_864),
        ("1.5Gi", 1_610_612_736),
    ],
)
def test_quantities(text: object, amount: float) -> None:
    (found,) = listed(item(cpu=text, memory=text))["checkout-1"].containers.values()

    assert found.cpu_cores == pytest.approx(amount)
    assert found.memory_bytes == int(amount)


@pytest.mark.parametrize(
    "text", ["", "m", "Mi", "a lot", "1Qi", "1mi", "1KiB", "-1", "NaN", "inf", "1e999999", None, {}, []]
)
def test_quantities_that_are_none_leave_the_pod_out(text: object) -> None:
    assert set(listed(item(memory=text), item("checkout-2", cpu=text), item("checkout-3"))) == {"checkout-3"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10.062s", 10.062),
        ("11.268452311s", 11.268452),
        ("1m0s", 60),
        ("1h0m0.5s", 3600.5),
        ("500ms", 0.5),
    ],
)
def test_windows(text: str, seconds: float) -> None:
    assert listed(item(window=text))["checkout-1"].window == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "broken",
    [
        "no object",
        None,
        {},
        item(window="soon"),
        item(window="-5s"),
        item(window="5 s"),
        item(window=f"{'9' * 400}h"),
        item(window=None),
        item(timestamp=None),
        item(timestamp="yesterday"),
        item(metadata={}),
        # What could not be measured at all: it uses something, so it must not look like nothing.
        item(containers=[]),
        item(containers=[{"name": "app", "usage": {"cpu": "1"}}]),
        item(containers=[{"usage": {"cpu": "1", "memory": "1"}}]),
        item(containers={"app": {}}),
    ],
)
def test_what_cannot_be_read_is_left_out_and_the_rest_is_not(broken: object) -> None:
    assert set(listed(broken, item("whole"))) == {"whole"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, ["metrics-server is not installed", "install it: https://"]),
        (Unavailable("status 503"), ["status 503", "metrics-server is not installed", "kubectl get apiservice"]),
        (Invalid("the API server's answer is not JSON"), ["not JSON", "kubectl get apiservice"]),
        (Refused("pods.metrics.k8s.io is forbidden"), ["get, list pods.metrics.k8s.io", "shop", "is forbidden"]),
    ],
)
def test_no_answer_is_unavailable_and_says_what_to_do(error: PortError | None, words: list[str]) -> None:
    with pytest.raises(Unavailable) as caught:
        read(FakeTransport(fails={PATH: error} if error else {}))

    assert [each for each in words if each not in str(caught.value)] == []
