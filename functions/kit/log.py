"""Log lines as JSON on stderr, each with the request, event, model and trace that it belongs to.

`kit.app` calls `configure` once; code logs through the standard library. A secret never gets here: settings hold
secrets as `Secret`, whose text is `***`.
"""

import contextvars
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from functions.kit import trace

request_id: Final = contextvars.ContextVar("request_id", default="")
event_id: Final = contextvars.ContextVar("event_id", default="")
model_uuid: Final = contextvars.ContextVar("model_uuid", default="")

_CONTEXT: Final = (request_id, event_id, model_uuid)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, message, context, then whatever `extra` brought."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record; a traceback goes into `exception`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {variable.name: variable.get() for variable in _CONTEXT if variable.get()}
        if trace_id := trace.trace_id():
            line["trace_id"] = trace_id
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str = "INFO") -> None:
    """Send the root logger to stderr as JSON. Calling it again changes only the level."""
    root = logging.getLogger()
    root.setLevel(level)
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
        root.handlers = [handler]
