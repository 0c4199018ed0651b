"""Settings that may change while the operator runs, from a file: a mounted ConfigMap. This module decides nothing."""

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
    """The settings in the file. An absent setting keeps its value from the environment."""

    # Unknown names are kept apart, not refused: during an upgrade this version reads the file of the next one.
    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names in the file that this version does not know: misspelt, or of another version."""
        return tuple(sorted(self.model_extra or ()))

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None
    policy_restarts: Annotated[int, Field(ge=1, le=1000)] | None = None
    policy_restarts_per_namespace: Annotated[int, Field(ge=1, le=1000)] | None = None


class SettingsFile:
    """Reads the file every few seconds, and calls `apply` with the settings whenever they change.

    A file that cannot be read, is not valid or has no known setting changes nothing, and is logged once. Settings that
    are not known are logged and left out.
    """

    def __init__(self, path: str, apply: Callable[[LiveSettings], None]) -> None:
        self._path = Path(path)
        self._apply = apply
        self._known: str | None = None

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Reads the file once."""
        try:
            text = await asyncio.to_thread(self._read)
        except (OSError, UnicodeError) as error:
            text = f"{type(error).__name__}"
            content = None
        else:
            content = text
        if text == self._known:
            return
        self._known = text
        if content is None:
            log.warning("the settings file cannot be read; settings stay as they are", path=str(self._path), why=text)
            return
        try:
            live = LiveSettings.model_validate_json(content)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
            log.error("the settings file is not valid; settings stay as they are", path=str(self._path), why=problems)
            return
        known = live.model_dump(exclude=set(live.unknown), exclude_none=True)
        if live.unknown:
            log.warning("the settings file has unknown settings; they are left out", names=live.unknown)
        if live.unknown and not known:
            return
        self._apply(LiveSettings(**known))
        log.info("settings", **known)

    def _read(self) -> str:
        with self._path.open() as file:
            return file.read(_LARGEST)
