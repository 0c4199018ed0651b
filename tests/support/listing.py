"""Lists of the API servers in memory, as the transport decodes them."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from resilience.adapters.kube import listed
from resilience.adapters.kube.listed import Json, Listed


def as_decoded(items: Iterable[Any], view: Callable[[Any], Any], shape: Any = Json) -> Listed[Any]:
    """The views of these objects after they went over the wire."""
    return listed.read([msgspec.json.encode(item) for item in items], view, shape)
