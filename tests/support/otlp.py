"""A collector of OpenTelemetry: it takes traces by OTLP over HTTP, and keeps the spans."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any, NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


class Span(NamedTuple):
    """A span as the collector has got it; ids are hexadecimal."""

    name: str
    kind: int  # 2: server, 3: client, 5: consumer
    trace_id: str
    id: str
    parent_id: str
    links: list[str]  # ids of the spans of other traces
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """Listens on a free loopback port; with `hangs` it never answers, with `refuses` by 400."""

    def __init__(self, port: int = 0, *, hangs: bool = False, refuses: bool = False) -> None:
        self._port = port
        self._hangs = hangs
        self._refuses = refuses
        self._runner: web.AppRunner | None = None
        self.spans: list[Span] = []
        self.asked = 0
        self.url = ""

    async def __aenter__(self) -> Collector:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.url = "http://{}:{}".format(*self._runner.addresses[0][:2])
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def named(self, name: str) -> list[Span]:
        """Return the spans of this name."""
        return [span for span in self.spans if span.name == name]

    def below(self, span: Span) -> list[str]:
        """Return the names of the spans whose parent is this one."""
        return [
            each.name
            for each in self.spans
            if (each.trace_id, each.parent_id) == (span.trace_id, span.id)
        ]

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = await request.read()
        if self._hangs:
            await asyncio.Event().wait()
        if self._refuses:
            raise web.HTTPBadRequest
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_span(each, about) for each in scope.spans]
        return web.Response(content_type="application/x-protobuf")


def _span(span: Any, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=[link.span_id.hex() for link in span.links],
        failed=span.status.code == 2,
        attributes=_values(span.attributes),
        resource=resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
