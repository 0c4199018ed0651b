"""An API server that no longer answers must not keep the operator's process: kubelet restarts only what has ended."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.support.silent_api import PATIENCE, Silent, leader


@pytest.mark.parametrize("told", [False, True], ids=["leadership lost", "told to end"])
async def test_a_leader_ends_when_the_api_server_falls_silent(tmp_path: Path, told: bool) -> None:
    server = Silent()
    async with leader(server, tmp_path) as process:
        # when
        server.silent.set()
        if told:
            process.send_signal(signal.SIGTERM)
        # then
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == (0 if told else 1)
