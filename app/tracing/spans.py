"""The span that the running code works in, and spans below it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from opentelemetry.trace import (
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    format_trace_id,
    set_span_in_context,
)

from app.common import log_context

T = TypeVar("T")


class CurrentSpan:
    """The span of a page or an event; the log shows the id of its trace."""

    __slots__ = ("span", "trace_id")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.trace_id = format_trace_id(span.get_span_context().trace_id)

    @property
    def reference(self) -> SpanContext:
        """What other traces can link to."""
        return self.span.get_span_context()

    def fail(self, error: str) -> None:
        """Note that the server is to blame for a failure of this kind."""
        set_failed(self.span, error)


class ChildSpans:
    """Makes spans of calls below the page or event that makes them; others get none."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def around(self, name: str, attributes: Mapping[str, str], work: Awaitable[T]) -> T:
        """Await a call in a span of its own."""
        span = self.begin(name, attributes)
        if span is None:
            return await work
        try:
            return await work
        except BaseException as error:
            set_failed(span, type(error).__name__)
            raise
        finally:
            span.end()

    def follow(self, name: str, attributes: Mapping[str, str], future: asyncio.Future[Any]) -> None:
        """Let a span last as long as a call that has begun."""
        span = self.begin(name, attributes)
        if span is None:
            return

        def ended(future: asyncio.Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if error is not None:
                set_failed(span, type(error).__name__)
            span.end()

        future.add_done_callback(ended)

    def begin(self, name: str, attributes: Mapping[str, str]) -> Span | None:
        """Return a new span below the current one; None if there is no current one."""
        current = log_context.span.get()
        if not isinstance(current, CurrentSpan):
            return None
        context = set_span_in_context(current.span)
        return self._tracer.start_span(name, context, SpanKind.CLIENT, attributes)


def set_failed(span: Span, error: str) -> None:
    """Mark a span as failed, by a kind of error (semantic conventions, `error.type`)."""
    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", error)
