"""Makes a later version of the operator out of its sources: `python later.py <folder of the package>`.

The later version has another number, another word for a step of a release and for one of a replacement, and a field of
status that the older one does not have. It does not know the older words either, so each way reads unknown ones.
"""

import sys
from pathlib import Path

_PHASE = "    phase: Phase = Phase.INITIALIZING\n"
# File, text, what takes its place, and how often the text is there.
CHANGES = (
    ("__init__.py", '__version__ = "', '__version__ = "later-', 1),
    # As a step on green, and as a stage in status.
    ("api/reasons.py", 'WARM = "Warm"', 'WARM = "Soaking"', 2),
    ("api/reasons.py", 'DRAINING = "draining"', 'DRAINING = "quieting"', 1),
    ("api/status.py", _PHASE, f'{_PHASE}    written_by: Text = Field(default="later", description="Version.")\n', 1),
)


def main(package: Path) -> None:
    """Applies the changes; ends with an error unless all of them fit."""
    for name, before, after, times in CHANGES:
        file = package / name
        text = file.read_text()
        if text.count(before) != times:
            sys.exit(f"{name} has {before!r} {text.count(before)} times, not {times}")
        file.write_text(text.replace(before, after))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
