"""Settings that change while the operator runs: applied once, never half, and never the end of anything."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from resilience.adapters.live_settings import LiveSettings, SettingsFile


async def test_a_change_is_applied_once(tmp_path: Path) -> None:
    path, applied = tmp_path / "settings.json", list[LiveSettings]()
    file = SettingsFile(str(path), applied.append)
    path.write_text('{"log_level": "DEBUG"}')
    await file.look()
    await file.look()
    assert applied == [LiveSettings(log_level="DEBUG")]
    path.write_text('{"log_level": "INFO", "policy_restarts": 3}')
    await file.look()
    assert applied[1:] == [LiveSettings(log_level="INFO", policy_restarts=3)]


@pytest.mark.parametrize(
    "text", ["", "{", '{"log_level": "LOUD"}', '{"policy_restarts": 0}', '{"namespaces": "all"}', "[]", None]
)
async def test_what_is_not_valid_changes_nothing_and_says_so_once(tmp_path: Path, text: str | None) -> None:
    path, applied = tmp_path / "settings.json", list[LiveSettings]()
    file = SettingsFile(str(path), applied.append)
    if text is not None:
        path.write_text(text)
    with capture_logs() as logs:
        await file.look()
        await file.look()
    assert applied == []
    assert len([each for each in logs if each["log_level"] in ("warning", "error")]) == 1
    path.write_text('{"log_level": "WARNING"}')
    await file.look()
    assert applied == [LiveSettings(log_level="WARNING")]


async def test_settings_of_a_later_version_do_not_keep_the_known_ones_from_being_applied(tmp_path: Path) -> None:
    path, applied = tmp_path / "settings.json", list[LiveSettings]()
    path.write_text('{"log_level": "DEBUG", "later_setting": {"of": "the next version"}}')
    with capture_logs() as logs:
        await SettingsFile(str(path), applied.append).look()
    assert applied == [LiveSettings(log_level="DEBUG")]
    assert [entry["names"] for entry in logs if entry["log_level"] == "warning"] == [("later_setting",)]
