"""Settings that are refused when the process starts, before anything could go wrong with them."""

import pytest
from pydantic import ValidationError

from resilience.config import Settings


@pytest.mark.parametrize("url", ["", "http://proxy.example:3128", "http://10.0.0.1/", "http://[fd00::1]:3128"])
def test_addresses_of_proxies(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RESILIENCE_PROXY_HTTPS", url)
    monkeypatch.setenv("RESILIENCE_NO_PROXY", ".corp.example, 10.0.0.0/8")
    monkeypatch.setenv("RESILIENCE_PROXY_CREDENTIALS", "operator:hunter2")
    settings = Settings()
    assert (settings.proxy_https, settings.no_proxy) == (url, (".corp.example", "10.0.0.0/8"))
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    ["proxy:3128", "https://proxy:3128", "http://user:password@proxy:3128", "http://proxy:port", "http://proxy/x"],
)
def test_addresses_of_proxies_that_are_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RESILIENCE_PROXY_HTTP", url)
    with pytest.raises(ValidationError):
        Settings()


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
