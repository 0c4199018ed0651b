"""An address for Apprise is a program of its tenant's choice: it gets a process, no file of ours, and an end."""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import Iterator
from typing import Any, Final

import pytest
from aiohttp import web

from tests.hostile.support import MIB, http_server, tcp_server
from tests.hostile.test_memory import bomb
from tests.support.messages import TOKEN, Post, from_secret, make_alert, make_message

NAMESPACES: Final = ("evil", "shop", "mail", "bank")
SPEC: Final[dict[str, Any]] = {"apprise": {"urlFrom": from_secret("url")}, "timeout": "30s"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Process, str]]]:
    """The processes that a test started, each with its command line and environment."""
    real, processes = asyncio.create_subprocess_exec, list[tuple[Process, str]]()

    async def start(*command: str, **options: Any) -> Process:
        process = await real(*command, **options)
        processes.append((process, f"{command} {options['env']}"))
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    yield processes
    assert all(process.returncode is not None for process, _ in processes), "a process was left behind"


@pytest.mark.parametrize(
    "url",
    [
        # Hardly a secret, but as readable as the token of the ServiceAccount.
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?template=/etc/passwd",
        "workflows://prod-0.westeurope.logic.azure.com/workflow/sign/?template=file:///etc/passwd",
    ],
)
async def test_a_file_of_the_operator_is_not_read(url: str) -> None:
    post = Post()
    post.put(url=url)
    trouble = await post.fails(make_message(make_alert()), **SPEC)
    assert trouble.permanent
    assert "a file of the operator's own machine" in trouble.message


async def test_an_answer_that_is_too_long_is_no_delivery(started: list[tuple[Process, str]]) -> None:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    packed, post = bomb(), Post()
    assert len(packed) < MIB
    async with http_server(answer) as port:
        post.put(url=f"json://:{TOKEN}@127.0.0.1:{port}/")
        trouble = await post.fails(make_message(make_alert()), **SPEC)
    assert trouble.message == "the answer takes more than 32 MiB"
    assert len(started) == 1 and TOKEN not in started[0][1]


async def test_a_server_that_never_answers_holds_no_process(started: list[tuple[Process, str]]) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            # A byte now and then keeps the time-out of a single read away.
            writer.write(b"H")
        await asyncio.sleep(600)

    post = Post()
    async with tcp_server(silence) as port:
        post.put(url=f"json://127.0.0.1:{port}/")
        trouble = await post.fails(make_message(make_alert()), **{**SPEC, "timeout": "1s"})
    assert trouble.unsure
    assert len(started) == 1


async def test_a_delivery_that_is_cancelled_takes_its_process_along(started: list[tuple[Process, str]]) -> None:
    asked = asyncio.Event()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read(-1)

    post = Post()
    async with tcp_server(silence) as port:
        post.put(url=f"json://127.0.0.1:{port}/")
        delivery = asyncio.create_task(post.send(make_message(make_alert()), **SPEC))
        await asked.wait()
        delivery.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivery
    assert [process.returncode for process, _ in started] == [-signal.SIGKILL]
