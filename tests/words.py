"""Holds the code to its house style where a machine can: words, sizes, and one meaning for a name.

`python -m tests.words` prints what is wrong and ends with 1. Must not judge anything that needs a reader.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ("operator/resilience", "monitoring", "tests/support")
CORE: Final = "operator/resilience/core"
# They name nothing.
VAGUE: Final = frozenset({"each", "found", "told", "said"})
MOST_VAGUE: Final = 50
# A docstring states a meaning; it does not ask.
QUESTIONS: Final = frozenset({"What", "Whether", "Who", "How", "Where", "When", "Why"})
LONGEST_FILE: Final = 300
MOST_ENTRIES: Final = 12


def problems(project: Path = PROJECT) -> Iterator[str]:
    """Everything that is wrong, one line each."""
    trees = {
        path: ast.parse(path.read_text()) for folder in SOURCES for path in sorted((project / folder).rglob("*.py"))
    }
    vague = Counter(path for path, tree in trees.items() for name in names(tree) if name in VAGUE)
    if vague.total() >= MOST_VAGUE:
        worst = ", ".join(f"{path.relative_to(project)} ({count})" for path, count in vague.most_common(5))
        yield f"{vague.total()} names are {'/'.join(sorted(VAGUE))}, fewer than {MOST_VAGUE} may be; most in {worst}"
    for path, tree in trees.items():
        for line, word in questions(tree):
            yield f"{path.relative_to(project)}:{line}: a docstring begins with {word}"
    core = {path: tree for path, tree in trees.items() if path.is_relative_to(project / CORE)}
    yield from _sizes(project, core)
    classes = Counter(node.name for tree in core.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    yield from (f"{CORE}: {count} classes are named {name}" for name, count in classes.items() if count > 1)
    # pytest takes two modules of one name for the same one.
    modules = Counter(path.name for path in (project / "tests").rglob("test_*.py"))
    yield from (f"tests: {count} files are named {name}" for name, count in modules.items() if count > 1)


def names(tree: ast.AST) -> Iterator[str]:
    """The names that a module binds: variables and parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def questions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and first word of docstrings that ask instead of saying."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            word = text.split(maxsplit=1)[0].rstrip(":,") if text else ""
            if word in QUESTIONS:
                yield getattr(node, "lineno", 1), word


def _sizes(project: Path, core: dict[Path, ast.Module]) -> Iterator[str]:
    entries = {path.relative_to(project / CORE).parts[0] for path in core} - {"__init__.py"}
    if len(entries) > MOST_ENTRIES:
        yield f"{CORE} has {len(entries)} entries, at most {MOST_ENTRIES} may be"
    for path in core:
        lines = path.read_text().count("\n")
        if lines > LONGEST_FILE:
            yield f"{path.relative_to(project)} has {lines} lines, at most {LONGEST_FILE} may be"


if __name__ == "__main__":
    wrong = list(problems())
    print("\n".join(wrong), file=sys.stderr)
    sys.exit(bool(wrong))
