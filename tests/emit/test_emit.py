"""Emits of other programs: by the running process, or over Redis."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from app.common import unix_socket
from app.emit import EmitFailed, Emitter
from app.ops.control import CommandFailed
from app.ops.control_client import call
from app.settings import PREFIX, SettingsError
from tests.support.browsers import session_id
from tests.support.paths import ROOT
from tests.support.redis_server import empty_redis
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

KEY = "a key of more than 16 characters"


async def command(*arguments: str, stdin: str = "", **environ: str) -> tuple[int, str]:
    """Run `python -m app.emit`; return its code and errors."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.emit", *arguments),
        cwd=ROOT,
        env={**clean, **environ},
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, wrong = await asyncio.wait_for(child.communicate(stdin.encode()), 25)
    return child.returncode or 0, wrong.decode()


async def emit(emitter: Emitter, *arguments: Any, **options: Any) -> None:
    await asyncio.to_thread(emitter.emit, *arguments, **options)


async def each_target(site: Site, emitter: Emitter) -> None:
    """Emit to a session, a user, a room and all; each reaches its sockets and no others."""
    async with Visitor(site.url) as ann, Visitor(site.url) as bob:
        await ann.sign_up("ann")
        hers, his = await ann.socket("websocket"), await bob.socket("websocket")
        (user,) = await site.services.presence.users("/")
        await emit(emitter, "one", {"n": [1, None]}, session=session_id(ann.cookie))
        await emit(emitter, "two", "text", user=user)
        await site.services.socket_server.enter_room(his.client.get_sid(), "lobby", namespace="/")
        await emit(emitter, "three", room="lobby")
        await emit(emitter, "four", 4)
        await until(lambda: ("four", (4,)) in hers.received and ("four", (4,)) in his.received)
        expected = [("one", ({"n": [1, None]},)), ("two", ("text",)), ("four", (4,))]
        assert hers.received == expected
        assert [event for event, _ in his.received] == ["three", "four"]
        await hers.close()
        await his.close()


async def test_a_script_emits_by_the_running_process(tmp_path: Path) -> None:
    """Through the control socket in the data folder, which only its owner may use."""
    path = tmp_path / "data" / "control.sock"
    async with serve(tmp_path) as site:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await each_target(site, Emitter(site.services.settings))
        folder = f"--data-dir={tmp_path}/data"
        async with Visitor(site.url) as visitor:
            socket = await visitor.socket("polling")
            assert await command("news", '{"n": 1}', folder) == (0, "")
            assert await command("-", "-", folder, stdin='"typed"') == (0, "")
            await until(lambda: len(socket.received) == 2)
            assert socket.received == [("news", ({"n": 1},)), ("-", ("typed",))]
            await socket.close()
    assert not path.exists()
    code, wrong = await command("news", folder)
    assert code == 1
    assert "no process of the data folder" in wrong


async def test_a_script_emits_over_redis(tmp_path: Path) -> None:
    """To every process; it needs the URL of Redis, and no other setting of the site."""
    options: dict[str, Any] = {"store": empty_redis(), "secret_keys": (KEY,)}
    emitter = Emitter.from_settings(["--store", options["store"]], {})
    with pytest.raises(EmitFailed, match="no process of the site listens"):
        await emit(emitter, "news")
    async with serve(tmp_path, **options) as site:
        await each_target(site, emitter)
        async with Visitor(site.url) as visitor:
            socket = await visitor.socket("websocket")
            environ = {"LATCHKEY_STORE": options["store"], "LATCHKEY_PORT": "not read"}
            assert await command("news", "[1]", **environ) == (0, "")
            await until(lambda: socket.received == [("news", ([1],))])
            await socket.close()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("news", "{"), 2, "the data is not JSON"),
        (("news", "--room=a", "--user=b"), 2, "not allowed with"),
        ((), 2, "the following arguments are required: event"),
        (("disconnect",), 1, "cannot be the name of an event"),
        (("news", "--namespace=chat"), 1, "a namespace begins with a slash"),
        (("news", "--store=redis"), 2, "must be sqlite, memory, redis://"),
    ],
)
async def test_a_wrong_call_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    """With a sentence that says what to write."""
    found, wrong = await command(*arguments, f"--data-dir={tmp_path}")
    assert (found, sentence in wrong) == (code, True), wrong


@pytest.mark.parametrize("wrong", ["--store=redis", "--config=no.toml"])
def test_wrong_settings_are_failures_of_the_emitter(wrong: str) -> None:
    """So a program that catches EmitFailed has them all."""
    with pytest.raises(EmitFailed, match=r"must be sqlite|no\.toml") as error:
        Emitter.from_settings([wrong], {})
    assert isinstance(error.value, SettingsError)


async def test_the_control_socket_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    """Each line gets an answer, and the connection goes on."""
    folder = tmp_path / "data"

    def ask(name: str, arguments: dict[str, Any]) -> Any:
        return call(folder, name, arguments, timeout=5)

    async with serve(tmp_path):
        for name, arguments, sentence in (
            ("dance", {}, "unknown command 'dance'; there are .*emit"),
            ("emit", {}, "missing required field `event`"),
            ("emit", {"event": "x", "user": 1}, "Expected `str | null`, got `int`"),
            ("emit", {"event": "x", "to": "y"}, "unknown field `to`"),
            ("emit", {"event": "connect"}, "cannot be the name of an event"),
            ("emit", {"event": "x", "namespace": "/no"}, "no module of handlers/ has .* /no"),
        ):
            with pytest.raises(CommandFailed, match=sentence.replace("|", r"\|")):
                await asyncio.to_thread(ask, name, arguments)

        def talk() -> list[dict[str, Any]]:
            with unix_socket.connect(folder / "control.sock", timeout=5) as sock:
                deep = b'{"command": "emit", "arguments": {"data": ' + b"[" * 200_000
                sock.sendall(b"nonsense\n" + deep + b"\n")
                sock.sendall(b'{"command": "emit", "arguments": {"event": "x"}}\n')
                with sock.makefile("rb") as answers:
                    return [json.loads(answers.readline()) for _ in range(3)]

        wrong, deep, right = await asyncio.to_thread(talk)
        assert "the request is not valid" in wrong["error"]
        assert "the request is not valid" in deep["error"]
        assert right == {"result": None}


async def test_processes_that_share_a_data_folder_serve_without_a_second_socket(
    tmp_path: Path,
) -> None:
    """The second one leaves the socket to the first, and starts all the same."""
    async with serve(tmp_path) as first:
        async with serve(tmp_path) as second, Visitor(second.url) as visitor:
            assert (await visitor.get("/healthz"))[0] == 200
        await emit(Emitter(first.services.settings), "news")
        async with serve(tmp_path, process_number=3):
            assert (tmp_path / "data" / "control-3.sock").exists()
