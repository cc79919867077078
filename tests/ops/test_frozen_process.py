"""A process that is frozen behind each proxy: its clients go on at the other process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.caddy import Caddy
from tests.support.cluster import two
from tests.support.frozen import freeze, watched
from tests.support.haproxy import Haproxy
from tests.support.nginx import Nginx
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy

# HAProxy closes the connections of a process that does not answer, so its clients need not notice
HEARTBEATS = {
    Nginx: ("--ping-interval=3", "--ping-timeout=3"),
    Haproxy: (),
    Caddy: ("--ping-interval=3", "--ping-timeout=3"),
}


@pytest.mark.limit(120)
@pytest.mark.parametrize("proxy", [Nginx, Haproxy, Caddy], ids=["nginx", "haproxy", "caddy"])
async def test_clients_of_a_frozen_process_go_on_at_another(
    tmp_path: Path, postgres: Postgres, proxy: type[Proxy]
) -> None:
    """On each transport, still signed in, with every acknowledged change; nothing is refused."""
    flags = ("--handshakes-per-minute=0", *HEARTBEATS[proxy])
    async with two(tmp_path, postgres, *flags, proxy=proxy) as site, watched(site) as clients:
        await freeze(clients)
    assert clients.seen.refused == []
