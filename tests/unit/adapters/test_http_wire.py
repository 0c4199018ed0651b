"""The request that is written, and what is made of the bytes that come back."""

import asyncio
from typing import Any, cast

import pytest
from yarl import URL

from resilience.adapters.net.failures import NetworkFailure
from resilience.adapters.net.http_wire import HEADER_LIMIT, Answer, AnswerReader, request_bytes
from resilience.ports import Refused

LIMIT = 100


class Sink:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


async def read(*parts: bytes, closed: Exception | bool = False) -> Answer:
    """The answer that these bytes are; `closed`: the connection ends after them, with an error or without."""
    reader = AnswerReader(b"GET", limit=LIMIT)
    reader.connection_made(cast(asyncio.BaseTransport, Sink()))
    for part in parts:
        reader.data_received(part)
    if closed:
        reader.connection_lost(closed if isinstance(closed, Exception) else None)
    return await asyncio.wait_for(reader.answer, timeout=0.1)


def written(method: str = "GET", url: str = "http://shop:80/a b?c=d", **fields: Any) -> list[str]:
    """The lines of a request."""
    given: dict[str, Any] = {"user_agent": "op/1", "headers": (), "body": None} | fields
    return request_bytes(method, URL(url), **given).decode().split("\r\n")


def test_a_request_says_what_it_is_and_that_it_is_the_only_one() -> None:
    assert written() == [
        "GET /a%20b?c=d HTTP/1.1",
        "Host: shop",
        "User-Agent: op/1",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: close",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://shop:8080/", "shop:8080"), ("https://shop:443/", "shop"), ("http://[fd00::1]:80/", "[fd00::1]")],
)
def test_the_host_carries_a_port_that_is_not_the_usual_one(url: str, host: str) -> None:
    assert f"Host: {host}" in written(url=url)


def test_headers_of_the_caller_replace_ours() -> None:
    lines = written("POST", headers=[("host", "other"), ("X-Key", "ä")], body=b"{}")

    assert [line for line in lines if line.lower().startswith("host")] == ["host: other"]
    assert {"X-Key: ä", "Content-Length: 2"} <= set(lines) and lines[-1] == "{}"
    assert "Content-Length: 0" in written("POST")


@pytest.mark.parametrize(
    "header",
    [("a b", "x"), ("", "x"), ("a", "x\r\ny: z"), ("a", "x\0"), ("Content-Length", "9"), ("transfer-encoding", "x")],
)
def test_what_would_end_the_request_early_is_refused_without_a_word_of_it(header: tuple[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        written(headers=[header])

    assert "y: z" not in str(refused.value)


async def test_the_request_goes_out_once_connected() -> None:
    reader, sink = AnswerReader(b"GET / HTTP/1.1\r\n\r\n", limit=LIMIT), Sink()
    reader.connection_made(cast(asyncio.BaseTransport, sink))

    assert sink.written == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "status", "body"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], 200, b"ok"),
        ([b"HTTP/1.1 20", b"0 OK\r\nContent-Len", b"gth: 2\r\n\r\no", b"k"], 200, b"ok"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
        ([b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nn\r\n1\r\no\r\n0\r\nT: 1\r\n\r\n"], 503, b"no"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], 200, b""),
        ([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"], 404, b""),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nwhatever"], 101, b""),
        # Servers that are less strict than the standard.
        ([b"HTTP/1.0 200 OK\nContent-Length: 2\n\nok"], 200, b"ok"),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok\r\n"], 200, b"ok"),
        ([b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"], 200, b""),
        ([b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n"], 200, b""),
    ],
)
async def test_answers(parts: list[bytes], status: int, body: bytes) -> None:
    answer = await read(*parts)

    assert (answer.status, answer.body, answer.cut) == (status, body, False)


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    answer = await read(b"HTTP/1.0 200 OK\r\n\r\nab", b"cd", closed=True)

    assert (answer.body, answer.cut) == (b"abcd", False)


async def test_headers_of_an_answer_that_only_informs_are_not_those_of_the_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\nRetry-After: 99\r\n\r\n"
    answer = await read(early, b"HTTP/1.1 200 OK\r\n\r\nab", closed=True)

    assert (answer.status, answer.body, answer.retry_after) == (200, b"ab", "")


async def test_when_to_come_again() -> None:
    answer = await read(b"HTTP/1.1 429 Slow\r\nretry-After:  7 \r\nContent-Length: 0\r\n\r\n")

    assert answer.retry_after == "7"


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x" * 60, b"x" * 60],
        [b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *([b"1\r\nx\r\n"] * 101)],
    ],
)
async def test_no_more_is_read_than_was_asked_for(parts: list[bytes]) -> None:
    answer = await read(*parts)

    assert (answer.body, answer.cut) == (b"x" * LIMIT, True)


async def test_what_goes_on_without_a_body_is_cut() -> None:
    trailer = b"T: " + b"x" * 10_000 + b"\r\n"
    answer = await read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", *([trailer] * 20))

    assert answer.cut


@pytest.mark.parametrize(
    ("parts", "closed", "reason"),
    [
        ([b"SSH-2.0-OpenSSH\r\n"], False, "NotHttp"),
        ([b"\x15\x03\x01\x00\x02\x02"], False, "NotHttp"),
        ([b"HTTP/1.1 200 OK\r\n", *([b"X: " + b"y" * 8000 + b"\r\n"] * (HEADER_LIMIT // 8000 + 1))], False, "NotHttp"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"] * (HEADER_LIMIT // 25 + 2), False, "NotHttp"),
        ([], True, "ConnectionClosed"),
        ([b"HTTP/1.1 200 OK\r\nConte"], True, "ConnectionClosed"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], True, "ConnectionClosed"),
        ([], ConnectionResetError(104, "reset"), "ConnectionReset"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"], True, "AnswerCut"),
        ([b"HTTP/1.1 200 OK\r\n\r\nhalf"], ConnectionResetError(104, "reset"), "AnswerCut"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], False, "AnswerCut"),
    ],
)
async def test_what_is_no_answer(parts: list[bytes], closed: Exception | bool, reason: str) -> None:
    with pytest.raises(NetworkFailure) as failed:
        await read(*parts, closed=closed)

    assert failed.value.reason == reason
