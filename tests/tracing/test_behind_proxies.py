"""Traces of processes behind the proxies of deploy/."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.caddy import Caddy
from tests.support.cluster import two
from tests.support.haproxy import Haproxy
from tests.support.nginx import Nginx
from tests.support.otlp import Collector
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.waiting import until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.limit(90)
@pytest.mark.parametrize("proxy", [Nginx, Haproxy, Caddy], ids=["nginx", "haproxy", "caddy"])
async def test_no_client_joins_a_trace(
    tmp_path: Path, postgres: Postgres, proxy: type[Proxy]
) -> None:
    """The processes believe the proxy's headers, so it removes the client's."""
    header = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with Collector() as collector:
        site = two(tmp_path, postgres, f"--tracing={collector.url}", proxy=proxy)
        async with site as cluster, cluster.visitor() as ann:
            assert (await ann.get("/", headers=header))[0] == 200
            await until(lambda: collector.named("GET /"))
        (page,) = collector.named("GET /")
    assert page.trace_id != TRACE
    assert page.parent_id == ""
