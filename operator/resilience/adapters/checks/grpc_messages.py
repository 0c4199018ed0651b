"""The two messages of the standard health service (grpc.health.v1), and the status that a call ends with.

The messages have one field each, so they are encoded and decoded by hand: a protobuf runtime and generated code would
be a dependency for six bytes. Format: https://protobuf.dev/programming-guides/encoding/.
"""


class CallFailed(Exception):
    """A call that ended with another status than OK. `code`: its name."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__()
        self.code = code
        self.details = details


def encode_request(service: str) -> bytes:
    """A HealthCheckRequest: field 1 is the service's name; an empty name is left out."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def decode_status(message: bytes) -> int | None:
    """Field 1 of a HealthCheckResponse, 0 when absent; None when the bytes are not such a message."""
    status, position = 0, 0
    while position < len(message):
        read = _read_varint(message, position)
        if read is None:
            return None
        tag, position = read
        # Every field of this message, in all its versions, is a varint.
        read = _read_varint(message, position) if tag & 7 == 0 else None
        if read is None:
            return None
        value, position = read
        status = value if tag >> 3 == 1 else status
    return status


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(message: bytes, position: int) -> tuple[int, int] | None:
    """The number at a position and the position after it; None when it does not end within ten bytes."""
    number = 0
    for index, byte in enumerate(message[position : position + 10]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    return None
