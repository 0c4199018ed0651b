"""Makes `import resilience` work in the virtual environment by a path file: an editable install needs a build tool."""

import sysconfig
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "operator"

if __name__ == "__main__":
    Path(sysconfig.get_path("purelib"), "resilience-source.pth").write_text(f"{SOURCE}\n", encoding="utf-8")
