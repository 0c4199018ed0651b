"""A tenant's words must not become a path at the API server, nor cost it more requests or bytes than they merit."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import pytest
from aiohttp import web

from resilience.adapters.checks.http_check import check_http
from resilience.adapters.kube.pod_policies import PodPolicies
from resilience.adapters.kube.pods import PodsReader
from resilience.adapters.kube.shared_lists import SharedLists
from resilience.adapters.kube.transport import Transport
from resilience.adapters.net.credentials import Credentials
from resilience.adapters.net.http import HttpClient
from resilience.adapters.net.login import Logins
from resilience.core.model.probes import HttpProbe, HttpTarget, SecretRef
from resilience.core.model.workload import Workload
from resilience.core.replacement import availability
from resilience.ports import PortError
from tests.hostile.support import MIB, OneSecret, api_server, http_server, in_words, loopback_guard, memory
from tests.support.factories import make_workload
from tests.support.preconditions import require

# A claim of the target's own namespace, and nothing behind it.
ONE_CLAIM: Final = re.compile(r"/api/v1/namespaces/shop/persistentvolumeclaims/[^/?]+")
# The collections that are listed when a pod is to be replaced.
LISTED: Final = re.compile(
    r"/apis|/apis/networking.k8s.io/v1/networkpolicies(\?.*)?"
    r"|/api(s/apps|s/policy|s/networking.k8s.io)?/v1/namespaces/shop"
    r"/(pods|replicasets|poddisruptionbudgets|networkpolicies)(\?.*)?"
)
# Of a cluster that holds one Secret.
SECRET: Final = "/api/v1/namespaces/kube-system/secrets/token-1"
# More than etcd takes for one object, by far, and half of what is offered here.
LARGEST_OBJECT: Final = 32 * MIB
MOST_CLAIMS: Final = 100


@dataclass(slots=True)
class ApiServer:
    """Knows one Secret, empty lists and nothing else; keeps the paths that it was asked for, as they were sent."""

    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        if LISTED.fullmatch(request.raw_path):
            return web.json_response({"items": [], "metadata": {}})
        if request.raw_path == SECRET:
            return web.json_response({"kind": "Secret", "metadata": {"name": "token-1"}})
        return web.json_response({"message": "not found"}, status=404)

    @property
    def of_claims(self) -> list[str]:
        """The requests that a claim led to."""
        return [path for path in self.asked if not LISTED.fullmatch(path)]


def pods_reader(transport: Transport) -> PodsReader:
    return PodsReader(
        transport=transport,
        lists=SharedLists(transport=transport),
        policies=PodPolicies(transport=transport, namespaces=()),
    )


def with_claims(*claims: str) -> Workload:
    workload = make_workload()
    return replace(workload, template=replace(workload.template, claims=claims))


async def asked_for(claims: Sequence[str]) -> list[str]:
    """The requests that the claims of a pod template lead to, when a pod is to be replaced."""
    server = ApiServer()
    async with api_server(server.answer) as transport:
        reader = pods_reader(transport)
        with suppress(PortError):
            await reader.view(with_claims(*claims), releases=False, limits=True)
    return server.of_claims


@pytest.mark.parametrize(
    "claim",
    [
        "../../kube-system/secrets/token-1",
        "../../../pods",
        "../configmaps?labelSelector=x",
        "../../../../../openapi/v2?",
        "a%2F..%2F../b",
    ],
)
async def test_a_claims_name_leads_to_no_other_object(claim: str) -> None:
    require(len(await asked_for(["data"])) == 1, "not even an ordinary claim is read")
    elsewhere = [path for path in await asked_for([claim]) if not ONE_CLAIM.fullmatch(path)]
    assert not elsewhere, f"claim {claim} made the operator GET {elsewhere}"


async def test_a_claims_name_does_not_tell_whether_a_secret_exists() -> None:
    words = []
    async with api_server(ApiServer().answer) as transport:
        reader = pods_reader(transport)
        for name in ("token-1", "token-2"):
            workload = with_claims(f"../../kube-system/secrets/{name}")
            try:
                view = await reader.view(workload, releases=False, limits=True)
                refusal = str(availability.replacement_refusal(workload, view))
            except PortError as error:
                refusal = str(error)
            words.append(refusal.replace(name, "x"))
    assert words[0] == words[1]


async def test_a_claim_of_many_volumes_is_read_once() -> None:
    paths = await asked_for(["data"] * 50)
    require(len(paths) > 0, "the claim was not read")
    assert len(paths) == 1, f"{len(paths)} GETs for one claim"


async def test_the_claims_that_are_read_are_capped() -> None:
    require(len(await asked_for(["data"])) == 1, "not even an ordinary claim is read")
    paths = await asked_for([f"data-{number}" for number in range(3 * MOST_CLAIMS)])
    assert len(paths) <= MOST_CLAIMS, f"{len(paths)} GETs for one pod template"


async def test_an_answer_of_the_api_server_has_a_size_limit() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):
            await response.write(b'{"data": "')
            for _ in range(2 * LARGEST_OBJECT // len(chunk)):
                await response.write(chunk)
            await response.write(b'"}')
            await response.write_eof()
        return response

    chunk = b"x" * (MIB // 4)
    async with api_server(answer) as transport:
        with memory() as peak:
            words = await in_words(transport.get("/api/v1/namespaces/shop/configmaps/flags"))
            require(bool(words), "there was no answer")
            assert peak() < LARGEST_OBJECT, f"{peak() // MIB} MiB for one object"


async def test_a_refused_check_does_not_read_its_secret_in_every_run() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=401)

    secrets, now = OneSecret("Authorization: Bearer x"), 0.0
    credentials = Credentials(secrets, lambda: now)
    client = HttpClient(guard=loopback_guard(), version="0")
    logins = Logins(client, credentials)
    async with http_server(refuse) as port:
        probe = HttpProbe(HttpTarget("127.0.0.1", port, "/"), headers=SecretRef("evil", "login", "header"))
        for second in range(20):
            now = float(second)
            result = await check_http(probe, client=client, logins=logins, timeout=timedelta(seconds=10))
            require("401" in result.message, f"the server did not refuse: {result}")
    require(secrets.reads > 0, "the Secret was never read")
    # The first read, and a fresh one in ten seconds.
    assert secrets.reads <= 3, f"{secrets.reads} GETs of the Secret in 20 runs, one a second"
