"""kopf's watches go to the API server that the rest of the operator goes to."""

from typing import Any, cast

import kopf
import pytest
from kopf._core.intents.causes import Activity

from resilience.handlers import lifecycle


def test_watches_need_no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    # given: what kopf makes of a service account
    account = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t", priority=3)
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: account)
    registry = kopf.OperatorRegistry()
    lifecycle.register_login(registry, server="https://10.43.0.1:443")
    # when
    (handler,) = registry._activities.get_handlers(activity=Activity.AUTHENTICATION)
    made = cast(Any, handler.fn)(settings=kopf.OperatorSettings())
    # then
    assert made == kopf.ConnectionInfo(server="https://10.43.0.1:443", token="t", priority=3)
