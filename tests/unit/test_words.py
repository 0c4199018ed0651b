"""The house style that a machine can hold is found when it is broken."""

from pathlib import Path

import pytest

from tests import words


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in words.SOURCES:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / words.CORE / "health").mkdir(parents=True)
    return tmp_path


def write(project: Path, text: str, *, file: str = "health/fold.py") -> None:
    (project / words.CORE / file).write_text(text)


def test_plain_code_is_left_alone(project: Path) -> None:
    write(project, '"""Folds states."""\n\nclass Fold:\n    """The state."""\n\nfor state in ():\n    each = state\n')

    assert list(words.problems(project)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('"""What a check says."""\n', "health/fold.py:1: a docstring begins with What"),
        ('def ready() -> bool:\n    """Whether it is."""\n', "health/fold.py:1: a docstring begins with Whether"),
        ("class Fold: ...\nclass Other:\n    class Fold: ...\n", "2 classes are named Fold"),
        ("\n" * 301, "health/fold.py has 301 lines, at most 300 may be"),
        ("each = 1\n" * 50, "50 names are each/found/said/told, fewer than 50 may be; most in"),
    ],
)
def test_what_is_broken_is_named_with_its_place(project: Path, text: str, problem: str) -> None:
    write(project, text)

    (line,) = words.problems(project)
    assert problem in line


def test_the_core_has_few_entries(project: Path) -> None:
    for number in range(12):
        write(project, "", file=f"rule{number}.py")
    assert list(words.problems(project)) == []

    write(project, "", file="health/fold.py")
    assert [line.rpartition(" has ")[2] for line in words.problems(project)] == ["13 entries, at most 12 may be"]
