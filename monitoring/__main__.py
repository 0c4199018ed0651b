"""`python -m monitoring`: writes rules and dashboards into the chart; `--check` only reports if they are current."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

from monitoring import fleet_page, grafana, operator_page, operator_rules, service_page, slo_rules
from monitoring.rule import Group

_FILES: Final = Path(__file__).resolve().parents[1] / "charts" / "resilience-operator" / "files"
PAGES: Final = {"fleet": fleet_page.page, "service": service_page.page, "operator": operator_page.page}
_HEAD: Final = (
    "# Made by `python -m monitoring`. A rule file as Prometheus reads it; the chart makes a PrometheusRule of it.\n"
)


def render(groups: Sequence[Group]) -> str:
    """A rule file."""
    body = {"groups": [group.to_prometheus() for group in groups]}
    return _HEAD + yaml.safe_dump(body, sort_keys=False, width=1000, allow_unicode=True)


def rules() -> Mapping[Path, str]:
    """Every rule file with its required content."""
    return {
        _FILES / "rules" / "objectives.yaml": render(slo_rules.groups()),
        _FILES / "rules" / "operator.yaml": render(operator_rules.groups()),
    }


def files() -> Mapping[Path, str]:
    """Every file with its required content."""
    pages = {_FILES / "dashboards" / f"{name}.json": grafana.render(page()) for name, page in PAGES.items()}
    return {**rules(), **pages}


def main(arguments: Sequence[str]) -> int:
    """0, unless `--check` is given and a file is out of date."""
    stale = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" in arguments:
            sys.stderr.write(f"{path} is out of date: python -m monitoring\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files()[path])
            sys.stdout.write(f"{path} written\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
