"""Leaves out what installed packages import and nobody here uses: a tenth of the memory of a process at rest.

`kubernetes` and two packages in it import at once everything that they hold: a second client that blocks, with
requests, OAuth and web sockets. kopf imports every client library that it finds, to know the objects of each; here it
gets none of them.
"""

import importlib.util
import sys
from typing import Final

# Of these only some modules are used, and those import what they need themselves.
_OF_PARTS: Final = ("kubernetes", "kubernetes.aio", "kubernetes.utils")
_NOT_FOR_KOPF: Final = ("kubernetes.client", "pykube")


def leave_out_unused() -> None:
    """Call it before anything imports kopf or the client, once for a process."""
    for name in _OF_PARTS:
        spec = importlib.util.find_spec(name)
        assert spec is not None  # it is installed
        package = sys.modules[name] = importlib.util.module_from_spec(spec)
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, package)
    # For the import system: not to be found.
    sys.modules |= dict.fromkeys(_NOT_FOR_KOPF)  # type: ignore[arg-type]
