"""The traces of one application: spans of pages and events, and their way to the collector."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine
from threading import Thread
from typing import Any, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from tornado.web import RequestHandler

from app import __version__
from app.common import log_context
from app.common.background import wait_until_set
from app.stores import SessionStore
from app.tracing.exporter import LoggedExporter
from app.tracing.spans import ChildSpans, CurrentSpan, set_failed
from app.tracing.store import TracedStore

log = logging.getLogger("latchkey.tracing")

_MAX_QUEUE = 4096  # spans; more are dropped, so that a collector that is away costs no memory
_MAX_BATCH = 256  # spans; the thread of the batches takes the loop's CPU while it encodes one
_BATCH_INTERVAL = 1000  # milliseconds
_SOCKETS = "/socket.io"
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})

Work = Coroutine[Any, Any, None]


class Namespace(Protocol):
    """A namespace whose event is traced."""

    @property
    def pattern(self) -> str: ...

    def shown_event(self, event: str) -> str:
        """Return the event's name if the namespace has it, else one of a few words."""
        ...

    def opened_in(self, sid: str) -> object:
        """Return the reference of the span in which the client's connection was opened."""
        ...


class Traces:
    """Makes spans of what clients ask for, and sends them to a collector in the background."""

    def __init__(self, collector: str, *, store: str, database: str, process: int) -> None:
        """`store` and `database` are their kinds, and `process` is the number of this process.

        Variables of OpenTelemetry, such as OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
        OTEL_TRACES_SAMPLER and OTEL_EXPORTER_OTLP_HEADERS, count as everywhere.
        """
        resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME", "latchkey"),
                "service.version": __version__,
                "service.instance.id": str(process),
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                LoggedExporter(collector),
                max_queue_size=_MAX_QUEUE,
                max_export_batch_size=_MAX_BATCH,
                schedule_delay_millis=_BATCH_INTERVAL,
            )
        )
        self._tracer = self._provider.get_tracer("latchkey", __version__)
        self._children = ChildSpans(self._tracer)
        self._parents = TraceContextTextMapPropagator()
        self._store, self._database = store, database

    def page(self, handler: RequestHandler, route: str, work: Work) -> Work:
        """Return the work on a request, in a span unless it is a poll, a probe or a scrape.

        The span is one of an HTTP server; its parent is that of the header traceparent.
        """
        is_poll = route == _SOCKETS and "sid=" in handler.request.query
        return work if is_poll or route in _UNTRACED else self._page(handler, route, work)

    def event(self, namespace: Namespace, sid: str, event: str, work: Work) -> Work:
        """Return the work on an event, in a span: a message that is processed.

        The namespace is the destination, and the event the operation. It begins a trace, which
        links to that of the handshake.
        """
        return self._event(namespace, sid, namespace.shown_event(event), work)

    def traced(self, store: SessionStore) -> SessionStore:
        """Return a store whose calls are spans."""
        return TracedStore(store, self._children, kind=self._store)

    def database_call(self, pool: str, future: asyncio.Future[Any]) -> None:
        """Let a span last as long as a call of the database that has got its thread."""
        self._children.follow(pool, {"db.system.name": self._database}, future)

    async def stop(self, seconds: float) -> None:
        """Send the spans that wait, for this time at most."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop is closed by now
                loop.call_soon_threadsafe(sent.set)

        # no thread of the executor: Python would wait for its end
        Thread(target=send, name="last traces", daemon=True).start()
        if not await wait_until_set(sent, seconds):
            log.warning("the last traces are lost, the collector was too slow seconds=%g", seconds)

    async def _page(self, handler: RequestHandler, route: str, work: Work) -> None:
        request = handler.request
        method = request.method or ""
        span = self._tracer.start_span(
            f"{method[:20]} {route}",
            self._parents.extract(request.headers),
            SpanKind.SERVER,
            {
                "http.request.method": method[:20],
                "http.route": route,
                "url.path": request.path[:500],
                "url.scheme": request.protocol,
                "server.address": request.host[:200],
                "client.address": request.remote_ip or "",
                "latchkey.request_id": log_context.current_request_id(),
            },
        )
        await _within(span, work)
        status = handler.get_status()
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            set_failed(span, str(status))
        span.end()

    async def _event(self, namespace: Namespace, sid: str, event: str, work: Work) -> None:
        opened_in = namespace.opened_in(sid)
        span = self._tracer.start_span(
            f"{event} {namespace.pattern}",
            None,
            SpanKind.CONSUMER,
            {
                "messaging.system": "socket.io",
                "messaging.operation.type": "process",
                "messaging.operation.name": event,
                "messaging.destination.name": namespace.pattern,
            },
            [Link(opened_in)] if isinstance(opened_in, SpanContext) else [],
        )
        await _within(span, work)
        span.end()


async def _within(span: Span, work: Work) -> None:
    """Do the work as that of the span; end the span if it is cancelled or fails."""
    log_context.span.set(CurrentSpan(span))
    try:
        await work
    except BaseException as error:
        set_failed(span, type(error).__name__)
        span.end()
        raise
