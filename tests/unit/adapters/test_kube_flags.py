"""What is written of flags, and whose tokens read them."""

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from resilience.adapters.kube import tokens
from resilience.adapters.kube.flags import KubeFlags
from resilience.adapters.kube.tokens import KubeTokens
from resilience.adapters.kube.transport import Transport
from resilience.core.model.flags import Publication, PublishedFlag
from resilience.ports import Conflict, Unavailable
from tests.support.factories import KEY, NOW, make_pod, make_resource
from tests.support.transport import FakeTransport

MAPS = "/api/v1/namespaces/shop/configmaps"
PATH = f"{MAPS}/checkout-flags"
SAID = Publication("shop", "checkout", 3, NOW, (PublishedFlag("redis-degraded", True, "memory", "Refused", NOW),))


@dataclass
class Api(FakeTransport):
    """Takes whole objects, too."""

    async def put(self, path: str, body: Any) -> None:
        self.sent.append(("put", path, body))


def flags(api: Api) -> KubeFlags:
    return KubeFlags(transport=cast(Transport, api))


def stored(*, label: str | None = "checkout", **data: str) -> Any:
    labels = {"resilience.dev/flags-of": label} if label else {}
    meta = {"name": "checkout-flags", "uid": "u", "resourceVersion": "7", "labels": labels}
    return {"metadata": meta | {"ownerReferences": [{"kind": "ResilientService", "name": "checkout"}]}, "data": data}


async def test_a_config_map_is_made_and_goes_with_its_resource() -> None:
    api = Api()
    await flags(api).publish_flags(make_resource(uid="r-uid"), SAID)
    ((verb, path, body),) = api.sent
    assert (verb, path) == ("post", MAPS)
    assert body["metadata"]["labels"] == {"resilience.dev/flags-of": "checkout"}
    assert body["metadata"]["ownerReferences"][0]["uid"] == "r-uid"
    assert body["data"]["redis-degraded"] == "true"


async def test_it_is_changed_on_what_was_read_and_only_when_it_differs() -> None:
    api = Api({PATH: stored(old="1")})
    await flags(api).publish_flags(make_resource(), SAID)
    ((verb, _, body),) = api.sent
    assert (verb, body["metadata"]["resourceVersion"]) == ("put", "7")
    same = Api({PATH: stored(**body["data"])})
    await flags(same).publish_flags(make_resource(), SAID)
    assert same.sent == []
    nobodys = Api({PATH: stored(**body["data"])})
    nobodys.held[PATH]["metadata"]["ownerReferences"] = []
    await flags(nobodys).publish_flags(make_resource(), SAID)
    assert [sent[0] for sent in nobodys.sent] == ["put"]


async def test_what_is_somebody_elses_is_neither_changed_nor_deleted() -> None:
    api = Api({PATH: stored(label=None, mine="1")})
    with pytest.raises(Conflict):
        await flags(api).publish_flags(make_resource(), SAID)
    await flags(api).remove_flags(KEY)
    assert api.sent == []
    found = await flags(api).flags_map(KEY)
    assert found is not None and not found.ours


async def test_it_is_deleted_as_it_was_read() -> None:
    api = Api({PATH: stored()}, missing=frozenset({PATH}))
    await flags(api).remove_flags(KEY)
    ((verb, _, body),) = api.sent
    assert (verb, body["preconditions"]) == ("delete", {"uid": "u"})
    await flags(Api()).remove_flags(KEY)


async def test_exactly_this_pod_is_told() -> None:
    api = Api()
    await flags(api).tell_pod(make_pod("a", uid="p-uid"), namespace="shop", value="x")
    ((_, path, body),) = api.sent
    assert path == "/api/v1/namespaces/shop/pods/a"
    assert body == {"metadata": {"uid": "p-uid", "annotations": {"resilience.dev/flags": "x"}}}


def token(*, exp: float | None = 2000.0) -> str:
    claims = {} if exp is None else {"exp": exp}
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


@dataclass
class Reviews:
    """The API's answers to TokenReviews."""

    status: dict[str, Any] = field(
        default_factory=lambda: {
            "authenticated": True,
            "audiences": ["resilience.dev"],
            "user": {"username": "system:serviceaccount:shop:default"},
        }
    )
    asked: int = 0
    away: bool = False
    now: float = 1000.0

    async def post(self, path: str, body: Any) -> Any:
        self.asked += 1
        await asyncio.sleep(0)
        assert path == tokens.PATH
        assert body["spec"]["audiences"] == ["resilience.dev"]
        if self.away:
            raise Unavailable("no answer")
        return {"status": self.status}

    def reviewer(self) -> KubeTokens:
        clock = lambda: self.now  # noqa: E731
        return KubeTokens(transport=cast(Transport, self), monotonic=clock, wall=clock)


async def test_a_token_is_reviewed_once_a_minute() -> None:
    reviews = Reviews()
    reviewer = reviews.reviewer()
    found = await asyncio.gather(*(reviewer.account(token()) for _ in range(20)))
    assert set(found) == {"system:serviceaccount:shop:default"}
    assert reviews.asked == 1
    reviews.now += 61
    await reviewer.account(token())
    assert reviews.asked == 2


@pytest.mark.parametrize(
    "status",
    [
        {"authenticated": False},
        {"authenticated": True, "user": {"username": "x"}},
        {"authenticated": True, "audiences": ["api"], "user": {"username": "x"}},
        {},
    ],
)
async def test_what_is_no_good_is_nobody_and_not_asked_about_for_a_while(status: dict[str, Any]) -> None:
    reviews = Reviews(status)
    reviewer = reviews.reviewer()
    assert [await reviewer.account(token()) for _ in range(3)] == [None] * 3
    assert reviews.asked == 1


async def test_while_the_api_is_away_a_good_token_stays_good_until_it_expires() -> None:
    reviews = Reviews()
    reviewer = reviews.reviewer()
    await reviewer.account(token())
    await reviewer.account(token(exp=None))
    reviews.away, reviews.now = True, reviews.now + 300
    assert await reviewer.account(token()) == "system:serviceaccount:shop:default"
    for unknown in (token(exp=None), token(exp=3000.0)):
        with pytest.raises(Unavailable):
            await reviewer.account(unknown)
    reviews.now = 2001
    with pytest.raises(Unavailable):
        await reviewer.account(token())


async def test_many_tokens_cost_no_more_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MOST", 10)
    reviews = Reviews()
    reviewer = reviews.reviewer()
    for number in range(30):
        await reviewer.account(token(exp=3000.0 + number))
    assert len(reviewer._known) == 10
    assert await reviewer.account("x" * 20_000) is None
