"""Mounted files as Secrets: logins at the Prometheus server, which whoever installs the operator sets."""

from pathlib import Path

from resilience.ports import Invalid


class FileSecrets:
    """Implements ports.Secrets; the name is the path of a file."""

    async def read(self, *, namespace: str, name: str, key: str) -> str:
        """The content. Raises Invalid, without quoting it."""
        return _content(Path(name))


def _content(path: Path) -> str:
    # A small file in memory: a thread would cost more.
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {type(error).__name__}") from error
