"""A Redis with replicas and Sentinels, as docs/redis.md describes it, on loopback ports."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis

from tests.support.redis_server import RedisServer
from tests.support.waiting import until

SERVICE = "main"
#: What docs/redis.md says of the Redis itself; the time of the lag is shorter, for short tests.
KEPT = ("--appendonly", "yes", "--appendfsync", "always")
REPLICATED = (*KEPT, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "10")


class SentinelServer(RedisServer):
    """One Sentinel that watches a primary under the name `main`."""

    def __init__(self, folder: Path, primary: int, quorum: int, down_after: int) -> None:
        """`down_after` is in milliseconds."""
        super().__init__(folder)
        folder.mkdir(parents=True)
        (folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} {down_after}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
            f"sentinel parallel-syncs {SERVICE} 1\n"
        )

    def arguments(self) -> list[str]:
        return [str(self.folder / "sentinel.conf"), "--sentinel"]


class ReplicatedRedis:
    """A primary with replicas, and Sentinels that watch them."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        nodes: int = 3,
        sentinels: int = 3,
        down_after: int = 2000,
    ) -> None:
        """`options` are those of each Redis, `down_after` milliseconds."""
        self.nodes = [RedisServer(folder / f"redis{n}", *options) for n in range(nodes)]
        first = self.nodes[0].port
        for replica in self.nodes[1:]:
            replica.options = ("--replicaof", f"127.0.0.1 {first}", *options)
        self._options = options
        quorum = sentinels // 2 + 1
        self.sentinels = [
            SentinelServer(folder / f"sentinel{n}", first, quorum, down_after)
            for n in range(sentinels)
        ]
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}/0"

    async def start(self) -> None:
        """Start all of them, and wait until a failover is possible."""
        for server in (*self.nodes, *self.sentinels):
            server.start()
        await until(self._is_complete, 30)

    def stop(self) -> None:
        """Kill all of them."""
        for server in (*self.sentinels, *self.nodes):
            server.kill()

    def primary(self) -> RedisServer | None:
        """Return the Redis that a Sentinel names; None if no Sentinel answers."""
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.RedisError), sentinel.client(retry=None) as asked:
                found: Any = asked.sentinel_get_master_addr_by_name(SERVICE)
                return next(node for node in self.nodes if found and node.port == int(found[1]))
        return None

    async def failed_over(self, old: RedisServer) -> RedisServer:
        """Wait until the Sentinels name another primary than `old`; return it."""
        await until(lambda: self.primary() not in (None, old), 60)
        new = self.primary()
        assert new is not None
        return new

    def restart(self, node: RedisServer) -> None:
        """Start a killed Redis on its data, as its service does; the Sentinels find it."""
        node.options = self._options
        node.start()

    async def _is_complete(self) -> bool:
        with self.nodes[0].client() as first:
            replicas = first.info("replication")
        online = [replicas.get(f"slave{n}", {}) for n in range(len(self.nodes) - 1)]
        if not all(replica.get("state") == "online" for replica in online):
            return False
        for sentinel in self.sentinels:
            with sentinel.client() as asked:
                state: Any = asked.sentinel_master(SERVICE)
            others = state["num-other-sentinels"], state["num-slaves"]
            if others != (len(self.sentinels) - 1, len(self.nodes) - 1):
                return False
        return True


@contextlib.asynccontextmanager
async def replicated_redis(
    folder: Path, *options: str, nodes: int = 3, sentinels: int = 3
) -> AsyncIterator[ReplicatedRedis]:
    """Run a Redis as docs/redis.md describes it: three nodes, three Sentinels."""
    group = ReplicatedRedis(folder, *(options or REPLICATED), nodes=nodes, sentinels=sentinels)
    try:
        await group.start()
        yield group
    finally:
        group.stop()
