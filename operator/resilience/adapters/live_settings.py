"""Settings that may change while the operator runs, from a file: a mounted ConfigMap. It decides nothing by them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

log = structlog.get_logger(__name__)

_EVERY: Final = 5.0
_LARGEST: Final = 64 * 1024


class LiveSettings(BaseModel):
    """What is absent stays as the environment has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None
    policy_restarts: Annotated[int, Field(ge=1, le=1000)] | None = None
    policy_restarts_per_namespace: Annotated[int, Field(ge=1, le=1000)] | None = None


class SettingsFile:
    """Looks at the file every few seconds; `apply` gets what is in it whenever that changes.

    One that cannot be read or is not valid changes nothing, and says so once.
    """

    def __init__(self, path: str, apply: Callable[[LiveSettings], None]) -> None:
        self._path = Path(path)
        self._apply = apply
        self._known: str | None = None

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Reads the file once."""
        try:
            text = await asyncio.to_thread(self._read)
        except (OSError, UnicodeError) as error:
            text = f"{type(error).__name__}"
            found = None
        else:
            found = text
        if text == self._known:
            return
        self._known = text
        if found is None:
            log.warning("the settings file cannot be read; settings stay as they are", path=str(self._path), why=text)
            return
        try:
            live = LiveSettings.model_validate_json(found)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False)]
            log.error("the settings file is not valid; settings stay as they are", path=str(self._path), why=problems)
            return
        self._apply(live)
        log.info("settings", **live.model_dump(exclude_none=True))

    def _read(self) -> str:
        with self._path.open() as file:
            return file.read(_LARGEST)
