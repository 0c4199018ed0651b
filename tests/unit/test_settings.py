"""Settings that are refused when the process starts, before anything could go wrong with them."""

import pytest
from pydantic import ValidationError

from resilience.config import Settings


@pytest.mark.parametrize("url", ["", "http://prometheus:9090", "https://[::1]:9090/prefix/", "https://x/a/b"])
def test_addresses_of_prometheus(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RESILIENCE_PROMETHEUS_URL", url)
    assert Settings().prometheus_url == url


@pytest.mark.parametrize(
    "url",
    ["prometheus:9090", "ftp://x", "https://user:password@x", "https://x?a=b", "https://x/#a", "http://", "http://x y"],
)
def test_addresses_that_are_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RESILIENCE_PROMETHEUS_URL", url)
    with pytest.raises(ValidationError):
        Settings()
