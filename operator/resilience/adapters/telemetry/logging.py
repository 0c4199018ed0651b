"""Log set-up: one stream, one line format, and one place that redacts secrets, for our lines and the libraries'.

structlog passes its lines to the standard library, so that lines of kopf, aiohttp and asyncio take the same path. The
program must call `configure` once, and never at import time. Tracebacks omit local variables, which hold secrets.
"""

import logging
import sys
from typing import Final, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from resilience.adapters.telemetry.redaction import redact_mapping

# The kind of a line, by its event: people and machines filter for these kinds.
_MARKS: Final = {
    **dict.fromkeys(("decided", "acted", "told", "not told", "a master is lost"), "business"),
    **dict.fromkeys(("slow pass", "inconclusive", "resync inconclusive"), "performance"),
    **dict.fromkeys(("refused", "namespace left out", "leadership lost"), "security"),
}
# At DEBUG these log bodies, including Secrets in base64, which no pattern can recognise.
_NEVER_DEBUG: Final = ("kubernetes", "kubernetes_asyncio", "urllib3", "aiohttp", "asyncio", "grpc")

# At INFO it logs one line for each event of each object; our own lines report the same better.
_NEVER_INFO: Final = "kopf.objects"


def configure(*, level: str, log_format: str) -> None:
    """Sends every log line to standard error.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        log_format: `json`, `console`, or `auto`: console on a terminal, else json.

    Raises:
        ValueError: the level or format is another one.
    """
    handler = _Handler(sys.stderr)
    handler.setFormatter(_formatter(log_format, sys.stderr))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_shared(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def set_level(level: str) -> None:
    """Sets the minimum level of log lines, from now on."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    for name in _NEVER_DEBUG:
        logging.getLogger(name).setLevel(max(root.level, logging.INFO))
    logging.getLogger(_NEVER_INFO).setLevel(max(root.level, logging.WARNING))


def _formatter(log_format: str, stream: TextIO) -> logging.Formatter:
    return ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, *_shared(), _object_of_kopf],
        processors=[
            structlog.processors.format_exc_info,
            ProcessorFormatter.remove_processors_meta,
            _redact,
            *_renderer(log_format, stream),
        ],
    )


def _shared() -> list[Processor]:
    return [
        _mark,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderer(log_format: str, stream: TextIO) -> list[Processor]:
    match log_format:
        case "auto":
            return _renderer("console" if stream.isatty() else "json", stream)
        case "json":
            return [structlog.processors.JSONRenderer(ensure_ascii=False)]
        case "console":
            plain = structlog.dev.plain_traceback
            return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]
        case _:
            raise ValueError(f"{log_format!r} is not a log format; use json, console or auto")


def _mark(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    mark = _MARKS.get(str(event_dict.get("event", "")))
    if mark is not None:
        event_dict["mark"] = mark
    return event_dict


def _object_of_kopf(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Adds the object that kopf's loggers carry beside the message; its own formatters would put it into the text."""
    reference = getattr(event_dict["_record"], "k8s_ref", None)
    if isinstance(reference, dict):
        named = {field: reference.get(field) for field in ("kind", "namespace", "name")}
        event_dict.update({field: value for field, value in named.items() if value})
    return event_dict


def _redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    return redact_mapping(event_dict)


class _Handler(logging.StreamHandler[TextIO]):
    """Reports a line that could not be written, without its arguments: the library would print these unredacted."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        kind = sys.exc_info()[0]
        self.stream.write(
            f'{{"level": "error", "event": "a log line could not be written", "logger": "{record.name}", '
            f'"place": "{record.module}:{record.lineno}", "error": "{kind.__name__ if kind else ""}"}}\n'
        )
        self.flush()
