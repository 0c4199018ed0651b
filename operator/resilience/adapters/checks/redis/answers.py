"""Replies of a Redis server and their meaning. Only codes, addresses and numbers of a reply get into messages."""

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

from resilience.core.health.thresholds import Outcome

Command: TypeAlias = tuple[str | int, ...]
Reply: TypeAlias = "bytes | int | ServerError | list[Reply] | None"
# A shortage of a server that works: reason and message.
Shortage: TypeAlias = tuple[str, str]

# The reason of a NetworkFailure.
TOO_LONG: Final = "AnswerTooLong"
PING: Final[Command] = ("PING",)
ROLE: Final[Command] = ("ROLE",)

_HOST: Final = re.compile(r"[A-Za-z0-9_.:-]{1,253}")
_CODE: Final = re.compile(r"[A-Z]{2,20}")
_TOO_MANY_CLIENTS: Final = "max number of clients reached"
# By the first word of the error: the reason, and the message after the server's name.
_MEANINGS: Final[Mapping[str, tuple[str, str]]] = {
    "READONLY": ("ReadOnly", "accepts no writes: it is a read-only replica"),
    "NOREPLICAS": ("NotEnoughReplicas", "accepts no writes: it has fewer replicas than min-replicas-to-write requires"),
    "OOM": ("OutOfMemory", "accepts no writes: it uses all the memory that maxmemory allows"),
    "MISCONF": ("CannotPersist", "accepts no writes: it could not save its data to disk"),
    "LOADING": ("Loading", "is loading its data and does not answer until that is done"),
    "MASTERDOWN": ("MasterLinkDown", "is a replica that has lost its master"),
    "CLUSTERDOWN": ("ClusterDown", "reports that the cluster is down"),
    "BUSY": ("Busy", "is busy with a script and does not answer until that ends"),
    "DENIED": ("ProtectedMode", "is in protected mode and answers only its own host"),
}


class Verdict(Exception):
    """The server was reached, but the check does not pass. The message names the server and holds no secret."""

    def __init__(self, reason: str, message: str, *, outcome: Outcome = Outcome.FAIL) -> None:
        super().__init__(message)
        self.reason = reason
        self.outcome = outcome


class ServerError(Exception):
    """An error reply of the server. `words` are for comparison; only the `code` may be shown."""

    def __init__(self, words: str, code: str, moved: tuple[str, int] | None = None) -> None:
        super().__init__()
        self.words = words
        self.code = code if _CODE.fullmatch(code) else "ERR"
        # Host and port where a cluster node locates the command's key; an empty host is the node's own.
        self.moved = moved


class LoginRefused(ServerError):
    """The server does not accept user name and password, or requires them and got none."""


def verdict(error: ServerError, command: Command, *, node: object) -> Verdict:
    """The verdict for an error in reply to `command`."""
    if error.code == "NOPERM":
        words = f"{node} does not let the check's user run {command[0]}; allow it, or verify less"
        return Verdict("NotPermitted", words, outcome=Outcome.INCONCLUSIVE)
    if error.words == _TOO_MANY_CLIENTS:
        return Verdict("TooManyClients", f"{node} accepts no more connections: maxclients is reached")
    otherwise = ("ErrorReply", f"answered {command[0]} with the error {error.code}")
    reason, words = _MEANINGS.get(error.code, otherwise)
    return Verdict(reason, f"{node} {words}")


def required(answer: Mapping[Command, Reply], command: Command, *, node: object) -> Reply:
    """The reply to one of the commands.

    Raises:
        Verdict: the reply is an error.
    """
    reply = answer[command]
    if isinstance(reply, ServerError):
        raise verdict(reply, command, node=node)
    return reply


def text(reply: Reply) -> str:
    """The text of a reply that is a string. Raises Verdict for any other reply."""
    if not isinstance(reply, bytes):
        raise unreadable()
    return reply.decode(errors="replace")


def number(reply: object) -> int:
    """The number in a reply that is a whole number, or digits. Raises Verdict for any other reply."""
    if not isinstance(reply, bytes | int | str):
        raise unreadable()
    try:
        return int(reply)
    except ValueError as error:
        raise unreadable() from error


def items(reply: Reply) -> list[Reply]:
    """The elements of a reply that is a list. Raises Verdict for any other reply."""
    if not isinstance(reply, list):
        raise unreadable()
    return reply


def fields(reply: Reply) -> dict[str, str]:
    """Values by name, from a list of alternating names and values; only strings and numbers are kept as values."""
    listed = items(reply)
    pairs = zip(listed[::2], listed[1::2], strict=False)
    return {
        text(name): str(value) if isinstance(value, int) else text(value) for name, value in pairs if _is_scalar(value)
    }


def lines(reply: Reply) -> dict[str, str]:
    """Values by name, from a reply of `name:value` lines, as INFO returns them."""
    pairs = (line.partition(":") for line in text(reply).splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


def address(host: str, port: object) -> tuple[str, int]:
    """An address that a server returned. Raises Verdict for what cannot be one, to keep that out of messages."""
    if not _HOST.fullmatch(host):
        raise unreadable()
    return host, number(port)


def place(host: str, port: object) -> str:
    """An address that a server returned, for messages. Raises Verdict for what cannot be one."""
    host, port = address(host, port)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unreadable() -> Verdict:
    """The verdict on a reply that no Redis sends."""
    return Verdict("NotRedis", "the server that answers does not speak Redis' protocol")


def _is_scalar(value: Reply) -> bool:
    return isinstance(value, bytes | int)
