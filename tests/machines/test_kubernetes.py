"""deploy/kubernetes/nginx.conf on a real nginx, with a DNS server in the place of the cluster's."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.cluster.test_rolling_restart import Clicker, Reader
from tests.machines.name_server import NameServer
from tests.support.cluster import Cluster
from tests.support.nginx import Nginx
from tests.support.postgres import Postgres
from tests.support.process import Process, process
from tests.support.raw import POLLING
from tests.support.waiting import until

PODS = ["127.0.0.11", "127.0.0.12"]
FLAGS = ("--handshakes-per-minute=0", "--drain-time=2")


class KubernetesNginx(Nginx):
    """nginx as its pod runs it."""

    configuration = "kubernetes/nginx.conf"
    names: NameServer
    pods_port: int

    def changes(self) -> Mapping[str, str]:
        return {
            r"/tmp/(?!latchkey)": f"{self.folder}/",
            r"/dev/std(err|out)": rf"{self.folder}/\1.log",
            r"/secrets/certificates/tls\.crt": f"{self.folder}/certificate.pem",
            r"/secrets/certificates/tls\.key": f"{self.folder}/key.pem",
            r"listen 8443\b": f"listen 127.0.0.1:{self.port}",
            r"listen 8080\b": f"listen 127.0.0.1:{self.plain_port}",
            r"kube-dns\.kube-system\.svc\.cluster\.local": f"127.0.0.1:{self.names.port}",
            # this machine's users have one address; the limit of requests is that of the other file
            r"limit_(conn|req)_zone \$binary_remote_addr": r'limit_\1_zone ""',
            r":8888;": f":{self.pods_port};",
        }

    def _rewritten(self, ports: Sequence[int]) -> str:
        self.path.parent.mkdir()
        return super()._rewritten([])  # it has no ports of processes

    def log(self, name: str) -> str:
        return super().log("err.log" if name == "error.log" else name)


class Pods(Cluster):
    """Two processes with addresses of their own, on the same port."""

    def __init__(self, folder: Path, database: str, names: NameServer) -> None:
        KubernetesNginx.names = names
        KubernetesNginx.pods_port = 18_888
        self.names = names
        super().__init__(folder, database, FLAGS, proxy=KubernetesNginx)

    async def begin(self, number: int) -> Process:
        place = (f"--host={PODS[number]}", f"--port={KubernetesNginx.pods_port}")
        flags = (*place, f"--process-number={number}", *self._flags)
        folder = self._folder / str(number)
        return await self._stack.enter_async_context(process(folder, *flags, **self._environ))

    async def replace(self, number: int) -> None:
        """Replace a pod as the StatefulSet does: not ready, preStop, SIGTERM, a new one, ready."""
        self.names.ready.discard(PODS[number])
        asked = self.names.questions
        # preStop takes longer than nginx keeps an address
        await until(lambda: self.names.questions > asked + 1, 30)
        await self.restart(number)
        self.names.ready.add(PODS[number])
        asked = self.names.questions
        await until(lambda: self.names.questions > asked + 1, 30)


@contextlib.asynccontextmanager
async def pods(tmp_path: Path, postgres: Postgres) -> AsyncIterator[Pods]:
    names = NameServer(PODS)
    await names.start()
    try:
        database = postgres.url(postgres.database())
        site = Pods(tmp_path, database, names)
        async with site:
            yield site
    finally:
        names.stop()


@pytest.mark.limit(120)
async def test_a_new_release_fails_no_page_and_loses_no_click(
    tmp_path: Path, postgres: Postgres
) -> None:
    """Both pods are replaced, while clients use them; nobody waits long for the socket."""
    async with pods(tmp_path, postgres) as site, asyncio.TaskGroup() as group:
        clickers, readers = [Clicker(site) for _ in range(40)], [Reader(site) for _ in range(4)]
        tasks = [group.create_task(clicker.run()) for clicker in clickers]
        tasks += [group.create_task(reader.run()) for reader in readers]
        await until(lambda: all(clicker.joined for clicker in clickers), 60)
        for number in range(2):
            before = sum(reader.answers for reader in readers)
            await site.replace(number)
            await until(lambda: all(clicker.joined for clicker in clickers), 60)
            assert sum(reader.answers for reader in readers) > before
        acked = [clicker.acked for clicker in clickers]
        await until(lambda: all(c.acked > n for c, n in zip(clickers, acked, strict=True)), 30)
        for task in tasks:
            task.cancel()
    assert sum(len(clicker.away) for clicker in clickers) >= 40, "nobody was sent away"
    for clicker in clickers:
        assert clicker.acked <= clicker.count <= clicker.sent


@pytest.mark.limit(90)
async def test_an_id_leads_to_its_pod_also_when_that_is_not_ready(
    tmp_path: Path, postgres: Postgres
) -> None:
    """A pod that drains keeps its connections; another one refuses an id of a pod that is gone."""
    async with pods(tmp_path, postgres) as site:
        numbers = set()
        for _ in range(20):
            async with site.raw() as raw:
                sid, cookie = await site.open_sid(raw)
            numbers.add(sid.partition("-")[0])
            site.names.ready.discard(PODS[int(sid.partition("-")[0])])
            for body in (b"40", b"3"):
                async with site.raw() as raw:
                    path = f"{POLLING}&sid={sid}"
                    sent = await raw.ask(path, method="POST", body=body, Cookie=cookie)
                    assert (sent.status, sent.body) == (200, "ok")
            site.names.ready.update(PODS)
        assert numbers == {"0", "1"}
        for gone in ("7-x", "0-nobody"):
            for method, sends in (("GET", None), ("POST", b"3")):
                async with site.raw() as raw:
                    path = f"{POLLING}&sid={gone}"
                    answer = await raw.ask(path, method=method, body=sends)
                assert (answer.status, json.loads(answer.body)["code"]) == (400, 1), gone


@pytest.mark.limit(90)
async def test_without_a_pod_visitors_get_a_sentence(tmp_path: Path, postgres: Postgres) -> None:
    """No pod is ready, as when the database is away; nginx itself is well."""
    async with pods(tmp_path, postgres) as site:
        site.names.ready.clear()

        async def status(path: str) -> int:
            async with site.raw() as raw:
                return (await raw.ask(path)).status

        async def refused() -> bool:
            return await status("/") == 503

        await until(refused, 30)
        assert await status(POLLING) == 503
        assert await status("/static/style.css") == 200
