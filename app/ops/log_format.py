"""The form of log lines: text for people, or JSON for a collector of logs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

from app.common.log_context import current_request_id, current_trace_id

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

# Loggers of libraries that write much at "debug": their lines are about their own workings.
_QUIET = ("asyncio", "engineio", "socketio", "urllib3")


def set_up_log(*, format: str = "text", level: str = "info") -> None:
    """Log to standard error in one of `FORMATS`, lines of one of `LEVELS` and above."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLogger().level))


class TextFormatter(logging.Formatter):
    """A line of text: time, level, logger, message, and the ids of request and trace if any."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line, id = super().formatMessage(record), current_request_id()
        trace_id = current_trace_id()
        with_id = f"{line} request_id={id}" if id else line
        return f"{with_id} trace_id={trace_id}" if trace_id else with_id


class JsonFormatter(logging.Formatter):
    """A line of JSON: `time` (RFC 3339, UTC), `level`, `logger`, `message`; if there is one,
    `request_id` and `trace_id`, and `exception` with the traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if id := current_request_id():
            line["request_id"] = id
        if trace_id := current_trace_id():
            line["trace_id"] = trace_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return _encode(line)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _encode(line: dict[str, str]) -> str:
    try:
        return msgspec.json.encode(line).decode()
    except UnicodeEncodeError:  # half a character, which a client has sent
        clean = {
            key: value.encode(errors="backslashreplace").decode() for key, value in line.items()
        }
        return msgspec.json.encode(clean).decode()
