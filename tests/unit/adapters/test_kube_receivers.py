"""AlertReceivers as views: what cannot be read is said, and what is not there hides nothing else."""

from collections.abc import Callable
from typing import Any, cast

from resilience.adapters.kube.receivers import KubeReceivers, parse
from resilience.adapters.kube.transport import NotFound, Transport
from resilience.core.alerting.receiver import Receiver
from resilience.core.model.observation import Key
from resilience.ports import PortError, Refused

HOOK = {"webhook": {"urlFrom": {"secretKeyRef": {"name": "hook", "key": "url"}}}}


def raw(name: str = "team", namespace: str = "shop", **fields: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "uid": "u", "resourceVersion": "1"}
    return {"metadata": meta, "spec": HOOK, **fields}


class Lists:
    """Answers of the API server, by path."""

    def __init__(self, answers: dict[str, list[dict[str, Any]] | PortError]) -> None:
        self._answers = answers

    async def views(self, path: str, view: Callable[[dict[str, Any]], Receiver]) -> list[Receiver]:
        found = self._answers[path]
        if isinstance(found, PortError):
            raise found
        return [view(raw) for raw in found]


def reader(lists: Lists, *namespaces: str) -> KubeReceivers:
    return KubeReceivers(transport=cast(Transport, lists), namespaces=namespaces, instance="test")


PATH = "/apis/resilience.dev/v1alpha1/{}alertreceivers"


def test_a_specification_that_cannot_be_read_says_why() -> None:
    found = parse(raw(spec={"webhook": {}}))
    assert found.spec is None
    assert found.problem.startswith("webhook.urlFrom: ")


def test_a_status_that_somebody_spoiled_keeps_what_can_be_read() -> None:
    found = parse(raw(status={"delivered": 7, "conversations": "nonsense"}))
    assert (found.status.delivered, found.status.conversations) == (7, [])


async def test_a_definition_that_is_not_installed_is_no_trouble_of_anything_else() -> None:
    assert await reader(Lists({PATH.format(""): NotFound("no such kind")})).receivers() == {}


async def test_a_namespace_that_is_closed_hides_no_other() -> None:
    lists = Lists({PATH.format("namespaces/a/"): Refused("403"), PATH.format("namespaces/b/"): [raw(namespace="b")]})
    assert list(await reader(lists, "a", "b").receivers()) == [Key("b", "team")]
