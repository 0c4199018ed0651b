"""Pulls that fail, in the words of containerd, CRI-O, docker and registries."""

import pytest

from resilience.api.reasons import FailureClass
from resilience.core.failures import classify, image_pulls
from resilience.core.failures.classify import Failure
from resilience.core.model.observation import Pod
from tests.support.faults import IMAGE, broken

CONFIGURATION, AUTHENTICATION = FailureClass.CONFIGURATION, FailureClass.AUTHENTICATION
NETWORK, RESOURCE, UNKNOWN = FailureClass.NETWORK, FailureClass.RESOURCE, FailureClass.UNKNOWN
_RESOLVE = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": '
_URL = "https://registry.example.com/v2/shop/checkout/manifests/2.0"
_HEAD = f'{_RESOLVE}failed to do request: Head "{_URL}": '


def of(pod: Pod) -> Failure | None:
    return classify.of_pod(pod, image=IMAGE, namespace="shop")


@pytest.mark.parametrize(
    ("words", "kind", "reason"),
    [
        # containerd
        (
            f"{_RESOLVE}unexpected status from HEAD request to {_URL}: 401 Unauthorized",
            AUTHENTICATION,
            "PullUnauthorized",
        ),
        (f"{_RESOLVE}unexpected status from HEAD request to {_URL}: 403 Forbidden", AUTHENTICATION, "PullForbidden"),
        (
            f"{_RESOLVE}pulling from host x failed with status code [manifests 2.0]: 401 Unauthorized",
            AUTHENTICATION,
            None,
        ),
        (
            f"{_RESOLVE}pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed",
            AUTHENTICATION,
            "PullUnauthorized",
        ),
        (
            f"{_RESOLVE}pull access denied, repository does not exist or may require authorization: "
            "authorization failed: "
            "no basic auth credentials",
            AUTHENTICATION,
            None,
        ),
        (
            f"{_RESOLVE}failed to authorize: failed to fetch anonymous token: unexpected status from GET request to "
            "https://ghcr.io/token?scope=repository%3Ashop%2Fcheckout%3Apull&service=ghcr.io: 401 Unauthorized",
            AUTHENTICATION,
            "PullUnauthorized",
        ),
        (f"rpc error: code = NotFound desc = {_RESOLVE}{IMAGE}: not found", CONFIGURATION, "ImageNotFound"),
        (
            f"{_RESOLVE}failed to authorize: failed to fetch oauth token: unexpected status from GET request to "
            "https://us-docker.pkg.dev/v2/token?scope=x&service=us-docker.pkg.dev: 404 Not Found",
            CONFIGURATION,
            "ImageNotFound",
        ),
        (
            f'rpc error: code = NotFound desc = failed to pull and unpack image "{IMAGE}": no match for platform in '
            "manifest: not found",
            CONFIGURATION,
            "WrongPlatform",
        ),
        (
            f"{_HEAD}tls: failed to verify certificate: x509: certificate signed by unknown authority",
            CONFIGURATION,
            "RegistryCertificate",
        ),
        (
            f"{_HEAD}dial tcp: lookup registry.example.com on 10.96.0.10:53: no such host",
            NETWORK,
            "RegistryUnreachable",
        ),
        (f"{_HEAD}dial tcp 192.0.2.1:443: i/o timeout", NETWORK, None),
        (
            f"{_HEAD}dial tcp 192.0.2.1:443: connect: connection refused",
            NETWORK,
            None,
        ),
        (f"{_HEAD}net/http: TLS handshake timeout", NETWORK, None),
        (
            f"{_HEAD}dial tcp: lookup x: Temporary failure in name resolution",
            NETWORK,
            None,
        ),
        (f"{_HEAD}EOF", NETWORK, None),
        (
            f"{_RESOLVE}failed to authorize: failed to fetch anonymous token: Get "
            '"https://auth.docker.io/token": dial tcp: '
            "lookup auth.docker.io: i/o timeout",
            NETWORK,
            "RegistryUnreachable",
        ),
        ("rpc error: code = DeadlineExceeded desc = context deadline exceeded", NETWORK, None),
        (f"{_RESOLVE}unexpected status from HEAD request to {_URL}: 503 Service Unavailable", NETWORK, None),
        (
            f'failed to pull and unpack image "{IMAGE}": failed to copy: httpReadSeeker: failed open: '
            "unexpected status code "
            f"{_URL}: 429 Too Many Requests - Server message: toomanyrequests: You have reached your "
            "unauthenticated pull "
            "rate limit. https://www.docker.com/increase-rate-limit",
            NETWORK,
            "RegistryBusy",
        ),
        (
            f'failed to pull and unpack image "{IMAGE}": failed to extract layer sha256:1f: write '
            "/usr/lib/x: no space left "
            "on device",
            RESOURCE,
            "NoSpace",
        ),
        # CRI-O, docker
        (f"reading manifest 2.0 in {IMAGE}: manifest unknown: manifest unknown", CONFIGURATION, "ImageNotFound"),
        (
            f"reading manifest 2.0 in {IMAGE}: requested access to the resource is denied",
            AUTHENTICATION,
            "PullForbidden",
        ),
        (f"reading manifest 2.0 in {IMAGE}: unauthorized: authentication required", AUTHENTICATION, "PullUnauthorized"),
        (
            'initializing source docker://x: pinging container registry x: Get "https://x/v2/": dial tcp: lookup x: '
            "no such host",
            NETWORK,
            None,
        ),
        (
            "Error response from daemon: pull access denied for checkout, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied",
            AUTHENTICATION,
            None,
        ),
        ("name unknown: The repository with name 'x' does not exist in the registry with id '1'", CONFIGURATION, None),
        # Nothing that anybody knows.
        (f'failed to pull and unpack image "{IMAGE}": archive/tar: invalid tar header', UNKNOWN, "PullFailed"),
        # The kubelet waits, and repeats what it waits for.
        (
            f'Back-off pulling image "{IMAGE}": ErrImagePull: {_RESOLVE}{IMAGE}: not found',
            CONFIGURATION,
            "ImageNotFound",
        ),
    ],
)
def test_a_pull_by_its_last_words(words: str, kind: FailureClass, reason: str | None) -> None:
    fault = "ImagePullBackOff" if words.startswith("Back-off") else "ErrImagePull"

    found = of(broken(fault, words))

    assert found is not None and found.kind is kind
    assert reason in (None, found.reason)
    assert (
        found.message.startswith(f"pod green-1: cannot pull image {IMAGE}: ")
        and "failed to resolve" not in found.message
    )
    assert IMAGE in found.advice or "registry.example.com" in found.advice
    assert found.pod == "green-1" and len(found.message) <= 500


def test_names_and_addresses_decide_nothing() -> None:
    image = "timeout.example.com/denied/unauthorized:401"
    words = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'

    found = classify.of_pod(broken("ErrImagePull", words), image="other:1")

    assert found is not None and found.kind is CONFIGURATION and image in found.advice


def test_what_an_address_carries_is_not_repeated() -> None:
    words = (
        'Get "https://u:hush@cdn.example.com/blob?X-Signature=abc&e=1": dial tcp: lookup cdn.example.com: i/o timeout'
    )

    found = of(broken("ErrImagePull", words))

    assert found is not None and found.kind is NETWORK
    assert (
        "hush" not in found.message and "abc" not in found.message and "https://cdn.example.com/blob" in found.message
    )


def test_credentials_are_looked_for_by_name() -> None:
    words = f"{_RESOLVE}unexpected status from HEAD request to {_URL}: 401 Unauthorized"

    own = of(broken("ErrImagePull", words, pull_secrets=("regcred",)))
    told = classify.of_pod(broken("ErrImagePull", words), image=IMAGE, pull_secrets=("other",))
    none = of(broken("ErrImagePull", words))

    assert own is not None and "Secret regcred" in own.advice and "kubectl -n shop get secret regcred" in own.advice
    assert told is not None and "Secret other" in told.advice
    assert none is not None and "no imagePullSecrets" in none.advice and "registry.example.com" in none.advice


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("shop:2", "docker.io"),
        ("library/shop:2", "docker.io"),
        ("localhost:5055/missing/x:1", "localhost:5055"),
        ("ghcr.io/shop/checkout", "ghcr.io"),
    ],
)
def test_the_registry_of_an_image(image: str, host: str) -> None:
    assert image_pulls.registry(image) == host
