"""The session of a client, and how long its handlers can use it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from app.sessions.session import SessionEnded
from app.sockets.clients import UnknownSocket
from tests.support.browsers import PythonVisitor
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.site import serve
from tests.support.waiting import until


class Jobs(BaseNamespace):
    """Starts jobs that wait for `gate`, and then use the session of the client."""

    gate = asyncio.Event()
    results: list[Any] = []
    at_connect = False
    begun = 0
    tasks: set[asyncio.Task[None]] = set()

    async def on_connect(self, sid: str) -> None:
        if self.at_connect:
            type(self).at_connect = False
            self._begin(sid)

    async def on_job(self, sid: str) -> None:
        self._begin(sid)

    async def on_export(self, sid: str) -> None:
        await self._work(sid)

    async def on_whole(self, sid: str, other: str) -> int:
        async with self.session_for(other) as data:
            data.count += 1
        return data.count

    def on_disconnect(self, sid: str, reason: str) -> None:
        self._begin(sid)

    def _begin(self, sid: str) -> None:
        task = asyncio.create_task(self._work(sid))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _work(self, sid: str) -> None:
        type(self).begun += 1
        await self.gate.wait()
        try:
            async with self.session_for(sid) as data:
                data.count += 1
            user = await self.user_for(sid)
            await self.emit_to_session(sid, "exported")
            self.results.append((data.count, user))
        except Exception as error:
            self.results.append(error)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    Jobs.gate, Jobs.results, Jobs.tasks, Jobs.begun = asyncio.Event(), [], set(), 0
    return fork(monkeypatch, namespaces=[("/jobs", Jobs)])


@pytest.mark.parametrize("begun", ["in the event", "by the event", "by on_connect"])
async def test_tasks_of_an_event_outlive_its_socket(
    begun: str, tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """They edit the session, know the user, and reach the sockets that are connected by then."""
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ann")
        Jobs.at_connect = begun == "by on_connect"
        first = await visitor.socket("websocket", namespaces=("/jobs",))
        if begun == "by the event":
            await first.call("job", namespace="/jobs")
        elif begun == "in the event":
            await first.client.emit("export", namespace="/jobs")
        await until(lambda: Jobs.begun == 1)
        await first.close()
        namespace = site.services.socket_server.namespace_handlers["/jobs"]
        await until(lambda: not len(namespace._clients))
        second = await visitor.socket("websocket", namespaces=("/jobs",))
        Jobs.gate.set()
        # `on_disconnect` began one as well
        await until(lambda: len(Jobs.results) == 2)
        assert sorted(Jobs.results) == [(1, "ann"), (2, "ann")]
        await until(lambda: len(second.received) == 2)
        assert {event for event, _ in second.received} == {"exported"}
        await second.close()


@pytest.mark.parametrize("end", ["logout", "login"])
async def test_a_job_does_not_outlive_the_session(
    end: str, tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """It does not move to the new id at a sign-in either."""
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ann")
        socket = await visitor.socket("websocket", namespaces=("/jobs",))
        await socket.call("job", namespace="/jobs")
        if end == "logout":
            await visitor.post("/logout")
        else:
            await visitor.sign_in("ann")
        await until(lambda: len(Jobs.tasks) == 2)
        Jobs.gate.set()
        await until(lambda: len(Jobs.results) == 2)
        assert [type(result) for result in Jobs.results] == [SessionEnded, SessionEnded]


async def test_an_unknown_sid_raises_its_own_error(
    tmp_path: Path, modules: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """The error says that the socket is unknown; the calling client's session goes on."""
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        socket = await visitor.socket("websocket", namespaces=("/jobs",))
        namespace = site.services.socket_server.namespace_handlers["/jobs"]
        for use in (namespace.session_for, namespace.before_event, namespace.emit_to_session):
            with pytest.raises(UnknownSocket, match="unknown socket id 'nobody'"):
                use("nobody", "event") if use != namespace.session_for else use("nobody")
        with pytest.raises(UnknownSocket):
            await namespace.user_for("nobody")
        answer = await socket.call("whole", "nobody", namespace="/jobs")
        assert answer == {"error": "internal error"}
        assert "unknown socket id 'nobody'" in caplog.text
        sid = socket.client.get_sid("/jobs")
        assert await socket.call("whole", sid, namespace="/jobs") == 1


async def test_an_event_that_edits_another_clients_ended_session_keeps_its_own(
    tmp_path: Path, modules: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Only the sockets of the ended session are closed."""
    async with (
        serve(tmp_path, modules=modules) as site,
        PythonVisitor(site.url) as ann,
        PythonVisitor(site.url) as bob,
    ):
        socket = await ann.socket("websocket", namespaces=("/jobs",))
        other = await bob.socket("websocket", namespaces=("/jobs",))
        store: Any = site.services.sessions.store
        namespace = site.services.socket_server.namespace_handlers["/jobs"]
        client = namespace._clients[other.client.get_sid("/jobs")]
        await store.destroy(client.session_id)
        with caplog.at_level(logging.ERROR):
            answer = await socket.call("whole", client.sid, namespace="/jobs")
        assert answer == {"error": "internal error"}
        assert "the session of another client has ended" in caplog.text
        await until(lambda: not other.client.connected)
        own = socket.client.get_sid("/jobs")
        assert await socket.call("whole", own, namespace="/jobs") == 1
        await socket.close()
