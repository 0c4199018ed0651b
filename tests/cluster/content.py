"""Tells whether anything that goes into an image has changed since it was built, faster than a builder can.

Must not miss a file that a build step could see and Git knows of; files that Git ignores are taken to be no source.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.shell import ClusterError, run

_TOKENS = re.compile(r"\*\*/|\*\*|\*|\?|\[[^]]+\]|.", re.DOTALL)
_GLOB = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of a .dockerignore file."""

    pattern: re.Pattern[str]
    keep: bool


def digest(*, context: Path, dockerfile: Path, salt: str) -> str:
    """Of everything that `docker build` would send, and of `salt`. Raises ClusterError without a Dockerfile."""
    if not dockerfile.is_file():
        raise ClusterError(f"{dockerfile} is not there")
    total = hashlib.sha256(salt.encode())
    total.update(dockerfile.read_bytes())
    for name in _files(context):
        file = context / name
        total.update(f"\0{name}\0{file.stat().st_mode & 0o111}\0".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def ignored(name: str, rules: list[Rule]) -> bool:
    """Whether .dockerignore leaves out a file, by itself or by a folder above it. The last rule that speaks wins."""
    path = Path(name)
    paths = [str(part) for part in (path, *path.parents)]
    verdict = False
    for rule in rules:
        if any(rule.pattern.fullmatch(part) for part in paths):
            verdict = not rule.keep
    return verdict


def rules_of(text: str) -> list[Rule]:
    """The rules in the words of https://docs.docker.com/build/concepts/context/#dockerignore-files."""
    lines = (line.strip() for line in text.splitlines())
    return [_rule(line) for line in lines if line and not line.startswith("#")]


def _rule(line: str) -> Rule:
    keep = line.startswith("!")
    glob = line.removeprefix("!").strip().removeprefix("/").rstrip("/")
    translated = (_GLOB.get(token) or (token if token.startswith("[") else re.escape(token)) for token in _tokens(glob))
    return Rule(pattern=re.compile("".join(translated)), keep=keep)


def _tokens(glob: str) -> list[str]:
    return _TOKENS.findall(glob)


def _files(context: Path) -> list[str]:
    try:
        listed = run("git", "-C", context, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    except ClusterError:
        listed = [str(file.relative_to(context)) for file in context.rglob("*")]
    ignore = context / ".dockerignore"
    rules = rules_of(ignore.read_text()) if ignore.exists() else []
    return sorted({name for name in listed if name and (context / name).is_file() and not ignored(name, rules)})
