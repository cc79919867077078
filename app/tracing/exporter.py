"""The way of spans to the collector, in a thread, and the log of its outages."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from app.common.urls import without_credentials

log = logging.getLogger("latchkey.tracing")

_EXPORT_TIMEOUT = 5.0  # seconds for a batch, repetitions included
_LOG_INTERVAL = 60.0  # seconds between two lines about the same outage


class LoggedExporter(SpanExporter):
    """Sends batches by OTLP over HTTP, and logs an outage in a sentence and not for each batch."""

    def __init__(self, collector: str) -> None:
        """`collector` is its URL, without the path of traces."""
        # the log of the library has several lines for each batch
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._collector = without_credentials(collector)
        self._exporter = OTLPSpanExporter(
            endpoint=f"{collector.rstrip('/')}/v1/traces", timeout=_EXPORT_TIMEOUT
        )
        self._lost = 0  # spans since the last line about them
        self._logged_at = -_LOG_INTERVAL
        self._down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; called in the thread of the batches."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._sent()
        else:
            self._failed(len(spans))
        return result

    def shutdown(self) -> None:
        """Give up the batch that is being sent."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _sent(self) -> None:
        if self._down:
            log.info("traces are sent again collector=%s", self._collector)
        self._down = False

    def _failed(self, spans: int) -> None:
        self._down = True
        self._lost += spans
        if time.monotonic() - self._logged_at >= _LOG_INTERVAL:
            log.warning(
                "traces cannot be sent and are lost; start the collector, or correct --tracing "
                "collector=%s spans=%d",
                self._collector,
                self._lost,
            )
            self._lost, self._logged_at = 0, time.monotonic()
