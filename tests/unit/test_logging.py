"""No planted secret comes out of the log, whichever way it went in."""

import json
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import structlog

from resilience.adapters.telemetry.logging import configure
from resilience.adapters.telemetry.redaction import TEXT_LIMIT, is_secret_key, redact_mapping, redact_text

SECRET = "s3cr3tV4lue"
# As kopf reads them: nothing is posted as an Event.
QUIET = SimpleNamespace(posting=SimpleNamespace(enabled=False, level=logging.CRITICAL, loggers=False))
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE" + SECRET + "\n-----END RSA PRIVATE KEY-----"


@dataclass
class Written:
    """What went to standard error so far."""

    capture: pytest.CaptureFixture[str]
    text: str = ""

    def getvalue(self) -> str:
        self.text += self.capture.readouterr().err
        return self.text


@pytest.fixture
def stream(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Written(capsys)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("kubernetes", "kubernetes_asyncio", "urllib3", "aiohttp", "asyncio", "grpc", "kopf.objects"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(stream: Written) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_line_for_ours_and_theirs(stream: Written) -> None:
    configure(level="info", log_format="json")
    structlog.get_logger("resilience.runtime").info("restart started", key="shop/checkout", pods=3)
    logging.getLogger("aiohttp.server").warning("slow %s\nsecond line", "client")
    logging.getLogger("resilience.x").debug("not shown")
    ours, theirs = lines(stream)
    assert ours["event"] == "restart started"
    assert (ours["level"], ours["logger"], ours["key"], ours["pods"]) == (
        "info",
        "resilience.runtime",
        "shop/checkout",
        3,
    )
    assert str(ours["timestamp"]).endswith("Z")
    assert (theirs["event"], theirs["level"]) == ("slow client\nsecond line", "warning")
    assert theirs.keys() == {"event", "level", "logger", "timestamp"}


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_lines_of_kopf_carry_the_object(stream: Written, log_format: str) -> None:
    configure(level="INFO", log_format=log_format)
    reference = {"apiVersion": "resilience.dev/v1alpha1", "kind": "ResilientService", "name": "checkout"}
    adapter = logging.LoggerAdapter(
        logging.getLogger("kopf.objects"),
        {"settings": QUIET, "k8s_skip": False, "k8s_ref": reference | {"uid": "u", "namespace": "shop"}},
    )
    adapter.info("Handler 'x' is in progress.")
    adapter.warning("Handler 'x' has failed.")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "settings" not in text and "k8s_ref" not in text
    if log_format == "json":
        (line,) = lines(stream)
        assert (line["namespace"], line["name"], line["kind"]) == ("shop", "checkout", "ResilientService")
        assert line["event"] == "Handler 'x' has failed."
    else:
        assert "namespace=shop" in text and "name=checkout" in text


def plant(log: logging.Logger) -> None:
    """Secrets by every way in."""
    ours = structlog.get_logger("resilience.test")
    ours.info("connecting", password=SECRET, dsn=SECRET, headers={"X-Any": SECRET}, api_key=SECRET, authToken=SECRET)
    ours.info(f"postgres://app:{SECRET}@db:5432/app?sslmode=require")
    ours.info("nested", spec={"a": [{"b": {"clientSecret": SECRET}}, ("Authorization", SECRET)]})
    ours.info("text", text=f"Authorization: Basic {SECRET}", curl=f"-H 'Authorization: Bearer {SECRET}'")
    ours.info("objects", error=ValueError(f"redis://:{SECRET}@cache:6379"), raw=SECRET.encode())
    ours.info("pem", text=f"before {PEM} after", jwt=f"x {JWT}.", escaped=PEM.replace("\n", "\\n"))
    ours.info("positional %s", f"token={SECRET}")
    log.info("their %s", {"password": SECRET, "other": f"Bearer {SECRET}"})
    log.info(json.dumps({"password": SECRET, "inner": json.dumps({"token": SECRET})}))
    log.info(f"Set-Cookie: sid={SECRET}; Path=/")
    try:
        raise RuntimeError(f"cannot reach amqp://user:{SECRET}@queue/ with {JWT}")
    except RuntimeError as error:
        ours.exception("failed", error=error)
        log.exception("theirs failed: %s", error)
        log.error("again", exc_info=error)
    log.info("stack", stack_info=True)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_planted_secrets_do_not_come_out(stream: Written, log_format: str) -> None:
    configure(level="DEBUG", log_format=log_format)
    plant(logging.getLogger("somebody.else"))
    text = stream.getvalue()
    assert SECRET not in text
    assert JWT[10:30] not in text
    # What helps is still there.
    for kept in (
        "postgres://app:***@db:5432/app?sslmode=require",
        "before *** after",
        "RuntimeError",
        "amqp://user:***@queue/",
    ):
        assert kept in text
    assert "Traceback" in text


def test_locals_are_never_shown(stream: Written) -> None:
    configure(level="INFO", log_format="console")
    hidden = "".join(["local", "-", SECRET])
    try:
        raise ValueError(len(hidden))
    except ValueError:
        structlog.get_logger("x").exception("failed")
    assert SECRET not in stream.getvalue()


def test_a_line_that_cannot_be_written_shows_no_arguments(stream: Written) -> None:
    configure(level="INFO", log_format="json")
    logging.getLogger("x").info("%d is a number", SECRET)
    (line,) = lines(stream)
    assert line["event"] == "a log line could not be written"
    assert SECRET not in stream.getvalue()


def test_bodies_are_never_logged_by_the_client(stream: Written) -> None:
    configure(level="DEBUG", log_format="json")
    logging.getLogger("kubernetes.client.rest").debug("response body: %s", "cGFzc3dvcmQ=")
    assert stream.getvalue() == ""


def test_warnings_are_lines_too(stream: Written) -> None:
    configure(level="INFO", log_format="auto")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)
        warnings.warn("old thing", stacklevel=1)
    (line,) = lines(stream)
    assert line["logger"] == "py.warnings"


@pytest.mark.parametrize(("level", "log_format"), [("LOUD", "json"), ("INFO", "xml")])
def test_other_settings_are_refused(stream: Written, level: str, log_format: str) -> None:
    with pytest.raises(ValueError, match=f"{level}|{log_format}"):
        configure(level=level, log_format=log_format)


SECRET_KEYS = """
    password DB_PASSWORD PGPASSWORD authToken Authorization x-api-key dsn dbDsn cookie Set-Cookie headers
    clientSecret private_key routingKey hmac credentials pwd auth
"""


@pytest.mark.parametrize("key", SECRET_KEYS.split())
def test_secret_keys(key: str) -> None:
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key",
    ["", "event", "namespace", "name", "secret_name", "secretNames", "records", "author", "reason", "key", "path"],
)
def test_other_keys(key: str) -> None:
    assert not is_secret_key(key)


@pytest.mark.parametrize(
    "text",
    [
        "GET http://web:8080/readyz answered 503",
        "Secret shop/db has no key dsn",
        "3 of 3 pods: the connection was refused",
        "basic checks pass; the token bucket is empty",
        "https://example.org/a@b",
        "passes: 3, keys: 2",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    assert redact_text(text) == text


def test_that_there_is_none_is_no_secret() -> None:
    assert redact_mapping({"password": None, "token": "", "secret": False}) == {
        "password": None,
        "token": "",
        "secret": False,
    }


@pytest.mark.parametrize(
    "text",
    [
        "a" * 2_000_000,
        "eyJ" * 300_000,
        "://" * 300_000,
        "://a:" * 200_000,
        "password=" * 100_000,
        "Bearer " * 100_000,
        "authorization:" * 100_000,
        "-----BEGIN PRIVATE KEY-----" * 20_000,
        "basic " * 100_000 + "basic" + "a" * 100_000,
        '"password": "' * 100_000,
        " " * 1_000_000,
    ],
)
def test_cost_is_bounded(text: str) -> None:
    began = time.perf_counter()
    assert len(redact_text(text)) < TEXT_LIMIT + 100
    assert time.perf_counter() - began < 0.25


def test_size_of_nested_values_is_bounded() -> None:
    wide = {"items": [{"a": "x" * 10} for _ in range(100_000)]}
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    circle: dict[str, object] = {}
    circle["self"] = circle
    text = json.dumps(redact_mapping({"wide": wide, "deep": deep, "circle": circle}))
    assert len(text) < 20_000


@pytest.mark.parametrize("at", range(32_700, 32_780, 7))
def test_a_secret_at_the_cut_is_not_half_shown(at: int) -> None:
    text = "x " * (at // 2) + f"postgres://app:{SECRET}@db " + "y " * 1000
    assert SECRET[:5] not in redact_text(text)
