"""Classification of failed image pulls, by the messages of kubelet, containerd, CRI-O and registries.

These errors have no code upstream, so the text decides. Go wraps errors from the outside in, so the last known words
are the cause. This module must not decide on actions.
"""

import re
from dataclasses import dataclass
from typing import Final

from resilience.api.reasons import FailureClass

# Faults of pulling an image, in the kubelet's own words.
FAULTS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed"}
)

_BACK_OFF: Final = re.compile(r'^Back-off pulling image "[^"]*"(?:: )?')
# Prefixes that only say that a pull failed; the cause follows them.
_WRAPPERS: Final = re.compile(
    r"^(?:ErrImagePull|RegistryUnavailable|ImageInspectError|SignatureValidationFailed): "
    r'|^Failed to pull image "[^"]*": '
    r'|^rpc error: code = \w+ desc = |^failed to pull and unpack image "[^"]*": |^failed to resolve reference "[^"]*": '
    r'|^failed to do request: |^Error response from daemon: |^Failed to inspect image "[^"]*": '
)
_PULLED: Final = re.compile(r'(?:pull image|and unpack image|resolve reference|pulling image) "(?P<image>[^"…]+)"')
# Names and addresses may contain any word, and queries may carry signatures.
_QUOTED: Final = re.compile(r'"[^"]*"')
_URL: Final = re.compile(r"https?://\S+")
_PRIVATE: Final = re.compile(r'(?<=://)[^\s/@"]+@|(?<=[^\s"?])\?[^\s"]*=[^\s":]*')

# The kubelet limits the rate of its own pulls and continues by itself.
_ONLY_SLOW: Final = re.compile(r"pull qps exceeded", re.I)
# Of two patterns that match up to the same word, the first counts.
_KINDS: Final = (
    (
        FailureClass.CONFIGURATION,
        "WrongPlatform",
        r"no match for platform(?: in manifest: not found)?|no matching manifest",
    ),
    (
        FailureClass.NETWORK,
        "RegistryUnreachable",
        r"no such host|i/o timeout|connection refused|connection reset|connection timed out|tls handshake timeout"
        r"|context deadline exceeded|context canceled|client\.timeout exceeded|no route to host|network is unreachable"
        r"|server misbehaving|name resolution|broken pipe|\bEOF\b|registry is unavailable|request canceled"
        r"|\b(?:408 Request|500 Internal|502 Bad|503 Service|504 Gateway)\b|deadline exceeded",
    ),
    (FailureClass.NETWORK, "RegistryBusy", r"429 Too Many|toomanyrequests|pull rate limit"),
    (
        FailureClass.AUTHENTICATION,
        "PullUnauthorized",
        r"401 Unauthorized|\bunauthorized\b|authorization failed|require authorization|authentication required"
        r"|no basic auth credentials|missing username or secret|insufficient_scope|incorrect username or password"
        r"|invalid credentials|docker login",
    ),
    (FailureClass.AUTHENTICATION, "PullForbidden", r"403 Forbidden|\bforbidden\b|access denied|\bdenied\b"),
    (
        FailureClass.CONFIGURATION,
        "ImageNotFound",
        r"\bnot found\b|manifest[ _]unknown|name[ _]unknown|not known to registry",
    ),
    (FailureClass.CONFIGURATION, "RegistryCertificate", r"x509: .*|server gave HTTP response to HTTPS client"),
    (FailureClass.CONFIGURATION, "SignatureValidationFailed", r"signature validation failed.*"),
    (FailureClass.CONFIGURATION, "InvalidImageName", r"invalid reference format|short.name.*"),
    (FailureClass.RESOURCE, "NoSpace", r"no space left on device|disk quota exceeded"),
)
_PATTERNS: Final = tuple((kind, reason, re.compile(pattern, re.I)) for kind, reason, pattern in _KINDS)


@dataclass(frozen=True, slots=True)
class Pull:
    """A failed pull: its class and reason, the image, and the cause in the words of the component that refused it."""

    kind: FailureClass
    reason: str
    image: str
    cause: str


def read(words: str, *, image: str) -> Pull | None:
    """The failed pull; None when the words give no cause or the pull is only slow. `image`: if they name none."""
    pulled = _PULLED.search(words)
    image = pulled["image"] if pulled else image
    cause = _cause(words)
    if not cause or _ONLY_SLOW.search(cause):
        return None
    kind, reason = _kind(cause, image)
    return Pull(kind, reason, image, _PRIVATE.sub("", cause))


def registry(image: str) -> str:
    """Host of the registry of an image."""
    host, slash, _ = image.partition("/")
    return host if slash and (":" in host or "." in host or host == "localhost") else "docker.io"


def _cause(words: str) -> str:
    rest = _BACK_OFF.sub("", words)
    while (shorter := _WRAPPERS.sub("", rest)) != rest:
        rest = shorter
    return rest.strip()


def _kind(cause: str, image: str) -> tuple[FailureClass, str]:
    text = _URL.sub("", _QUOTED.sub("", cause))
    text = text.replace(image, "") if image else text
    matches = [
        (match.end(), -order, kind, reason)
        for order, (kind, reason, pattern) in enumerate(_PATTERNS)
        for match in pattern.finditer(text)
    ]
    if not matches:
        return FailureClass.UNKNOWN, "PullFailed"
    _, _, kind, reason = max(matches, key=lambda entry: entry[:2])
    return kind, reason
