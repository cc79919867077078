"""A process that is frozen behind each proxy: its clients go on at the other process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.caddy import Caddy
from tests.support.cluster import two
from tests.support.frozen import TRANSPORTS, freeze, watched
from tests.support.haproxy import Haproxy
from tests.support.nginx import Nginx
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy

# seconds; with nginx and Caddy clients notice by them
HEARTBEAT = {Nginx: 3, Haproxy: 10, Caddy: 3}


@pytest.mark.limit(120)
@pytest.mark.parametrize("proxy", [Nginx, Haproxy, Caddy], ids=["nginx", "haproxy", "caddy"])
async def test_clients_of_a_frozen_process_go_on_at_another(
    tmp_path: Path, postgres: Postgres, proxy: type[Proxy]
) -> None:
    """On each transport, still signed in, with every acknowledged change; nothing is refused."""
    seconds = HEARTBEAT[proxy]
    flags = (f"--ping-interval={seconds}", f"--ping-timeout={seconds}", "--handshakes-per-minute=0")
    async with two(tmp_path, postgres, *flags, proxy=proxy) as site, watched(site) as clients:
        await freeze(clients)
    assert clients.seen.refused == []
    # HAProxy closes the connections of a process that does not answer
    for transport in TRANSPORTS if proxy is Haproxy else ():
        assert "ping timeout" not in clients.sockets[transport, "0"].ends()
