"""The meaning of a failed connection: the target's fault, or the operator's own.

Only a failure of the target may count against it, so every adapter that uses the network classifies its errors here.
This module knows errno values and nothing about protocols; it must not retry, resolve or connect.
"""

import errno
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from resilience.ports import Unavailable


class NetworkFailure(Unavailable):
    """No usable answer. `reason` is one CamelCase word; `own` is True when the target never really got the request.

    `taken`: the target took the request, and neither reset nor closed the connection before it answered.
    """

    def __init__(self, message: str, *, reason: str, own: bool = False, taken: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.own = own
        self.taken = taken


class Untrusted(NetworkFailure):
    """The server's certificate is not trusted."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    reason: str
    message: str
    own: bool = False


_NO_RESOURCES: Final = _Meaning("OwnResourcesExhausted", "the operator has no sockets or memory left", own=True)
_OWN_NETWORK: Final = _Meaning("OwnNetworkDown", "the operator itself has no route there", own=True)
_RESET: Final = _Meaning("ConnectionReset", "the connection was reset")
_UNREACHABLE: Final = _Meaning("HostUnreachable", "the host cannot be reached")

_MEANINGS: Final = {
    errno.ECONNREFUSED: _Meaning("ConnectionRefused", "the connection was refused"),
    errno.ECONNRESET: _RESET,
    errno.ECONNABORTED: _RESET,
    errno.EPIPE: _RESET,
    # Raised by the operator itself, where a library has no other way to say it.
    errno.EMSGSIZE: _Meaning("AnswerTooLong", "the answer is too long"),
    errno.ETIMEDOUT: _Meaning("Timeout", "the connection timed out"),
    # A pod or node is gone, and its neighbours answer for it. A missing route is the operator's own (ENETUNREACH).
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.EHOSTDOWN: _UNREACHABLE,
    errno.ENETUNREACH: _OWN_NETWORK,
    errno.ENETDOWN: _OWN_NETWORK,
    # A local packet filter rejected the connection before anything was sent.
    errno.EPERM: _OWN_NETWORK,
    errno.EACCES: _OWN_NETWORK,
    errno.EADDRNOTAVAIL: _NO_RESOURCES,
    errno.EADDRINUSE: _NO_RESOURCES,
    errno.EMFILE: _NO_RESOURCES,
    errno.ENFILE: _NO_RESOURCES,
    errno.ENOBUFS: _NO_RESOURCES,
    errno.ENOMEM: _NO_RESOURCES,
}

# X509_V_ERR_* of OpenSSL, which has separate codes for a wrong name and a wrong address; to a person both are one.
_OTHER_NAME: Final = "carries another name than the requested one"
_CERTIFICATE: Final[Mapping[int, str]] = {
    9: "is not valid yet",
    10: "has expired, or one that signed it",
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}


def from_os_error(error: OSError) -> NetworkFailure:
    """The failure for an error of the system or of TLS: Untrusted for a certificate.

    An unknown error counts against the target.
    """
    if isinstance(error, ssl.SSLError):
        return _from_tls_error(error)
    return _failure(error.errno) or NetworkFailure("the connection failed", reason="ConnectionFailed")


def _from_tls_error(error: ssl.SSLError) -> NetworkFailure:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return NetworkFailure("the TLS handshake failed", reason="TlsFailed")
    return Untrusted(f"the certificate {_CERTIFICATE.get(error.verify_code, 'is not trusted')}", reason="TlsFailed")


def from_text(text: str) -> NetworkFailure | None:
    """As `from_os_error` for libraries (gRPC) that pass on only the error's text; None when it names no known one."""
    return next((_failure(code) for code in _MEANINGS if os.strerror(code) in text), None)


def _failure(code: int | None) -> NetworkFailure | None:
    meaning = _MEANINGS.get(code) if code is not None else None
    return NetworkFailure(meaning.message, reason=meaning.reason, own=meaning.own) if meaning else None
