"""An operator that looks after nothing holds only what every cluster needs."""

import re
from pathlib import Path

from tests.support.preconditions import require
from tests.support.silent_api import Silent, leader

# A line of `python -X importtime`: two times, and the module.
_IMPORT = re.compile(r"^import time:[^|]+\|[^|]+\|\s*([\w.]+)$", re.MULTILINE)


async def imported(folder: Path) -> set[str]:
    """The modules that the operator has imported when it leads and watches; and the packages around them."""
    async with leader(Silent(), folder, "-X", "importtime"):
        found = set(_IMPORT.findall((folder / "log").read_text()))
    require("resilience.runtime.controller" in found, "the imports cannot be read")
    return found | {name.partition(".")[0] for name in found}


async def test_nothing_is_imported_that_no_resource_needs(tmp_path: Path) -> None:
    # when
    found = await imported(tmp_path)
    # then
    of_checks = {"asyncpg", "grpc", "promql_parser", "redis"}
    of_receivers = {"aiosmtplib", "apprise", "re2"}
    of_clients = {"kubernetes.dynamic", "kubernetes.informer", "oauthlib", "requests", "urllib3", "websocket"}
    assert found & (of_checks | of_receivers | of_clients) == set()
