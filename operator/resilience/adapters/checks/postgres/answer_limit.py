"""Limits for what PostgreSQL servers send: asyncpg collects a message of any length, and keeps each reported parameter.

Bytes are counted before asyncpg reads them. This module must not interpret more than where a message begins.
"""

import errno
from typing import Final

import asyncpg  # type: ignore[import-untyped]

# Bytes of all answers in one run of a check. The widest row description there can be has about 140 KiB; rows stay away.
ANSWER_LIMIT: Final = 256 * 1024
# Bytes of parameters that a kept connection may have reported; a server reports a dozen when it is connected.
KEPT_LIMIT: Final = 16 * 1024
# The type and the length of a message: https://www.postgresql.org/docs/current/protocol-message-formats.html.
_HEAD: Final = 5
_PARAMETER_STATUS: Final = b"S"


class BoundedProtocol(asyncpg.protocol.Protocol):  # type: ignore[misc]
    """Cuts the connection when more bytes arrive than are left; `kept` counts those of parameters."""

    left = ANSWER_LIMIT
    kept = 0
    _head = b""
    # Bytes of the present message that are still to come.
    _body = 0

    def data_received(self, data: bytes) -> None:
        """Counts, then passes on. An error raised here closes the connection and is the reason for its loss."""
        self.left -= len(data)
        if self.left < 0:
            raise OSError(errno.EMSGSIZE, f"more than {ANSWER_LIMIT} bytes")
        self._count_parameters(data)
        super().data_received(data)

    def _count_parameters(self, data: bytes) -> None:
        position = min(self._body, len(data))
        self._body -= position
        while position < len(data):
            head = self._head + data[position : position + _HEAD - len(self._head)]
            position += len(head) - len(self._head)
            self._head = head
            if len(head) == _HEAD:
                length = max(int.from_bytes(head[1:]) - 4, 0)
                if head.startswith(_PARAMETER_STATUS):
                    self.kept += length
                self._head, self._body = b"", max(length - (len(data) - position), 0)
                position += length


class BoundedConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection over a BoundedProtocol."""

    def renew(self) -> None:
        """Allows the answers of one more run."""
        self._protocol.left = ANSWER_LIMIT

    def is_worn(self) -> bool:
        """The server has reported so many parameters that another connection should take over."""
        return bool(self._protocol.kept > KEPT_LIMIT)


# asyncpg has no parameter for it.
asyncpg.protocol.Protocol = BoundedProtocol
