"""The packages of a lock file as a CycloneDX document: `python -m tests.support.sbom LOCK OUTPUT`.

Only what the image, which runs Linux, installs. What its base image holds is that image's own account.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from resilience import __version__

_PIN: Final = re.compile(r"^([^#\s][^\\\n]*?)\s*\\?$", re.M)
_IMAGE: Final = {"os_name": "posix", "platform_system": "Linux", "sys_platform": "linux"}


def pins(lock: str) -> Iterator[tuple[str, str]]:
    """Names and versions of the packages that a lock file installs on Linux."""
    for line in _PIN.findall(lock):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(_IMAGE):
            (pin,) = requirement.specifier
            yield canonicalize_name(requirement.name), pin.version


def document(lock: str) -> str:
    """The document, as JSON."""
    bom = Bom()
    bom.metadata.component = root = Component(
        name="resilience-operator", version=__version__, type=ComponentType.APPLICATION, bom_ref="resilience-operator"
    )
    packages = []
    for name, version in pins(lock):
        purl = PackageURL("pypi", None, name, version)
        packages.append(Component(name=name, version=version, purl=purl, bom_ref=purl.to_string()))
    bom.components.update(packages)
    bom.register_dependency(root, packages)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


if __name__ == "__main__":
    source, output = map(Path, sys.argv[1:])
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(document(source.read_text()))
