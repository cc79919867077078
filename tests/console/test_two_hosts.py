"""The commands with two processes over one Redis and one PostgreSQL, as on two hosts."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsers import browser, ended
from tests.support.forms import PASSWORD, send, who
from tests.support.postgres import Postgres
from tests.support.process import process, run
from tests.support.redis_server import empty_redis
from tests.support.waiting import until

KEY = "a key of more than 16 characters"


@pytest.mark.parametrize("where", ["beside a process", "on another host"])
@pytest.mark.asvs("7.4.2", "7.4.5")
@pytest.mark.limit(90)
async def test_a_disabled_user_is_out_in_all_processes(
    tmp_path: Path, postgres: Postgres, where: str
) -> None:
    """Asked of one process, or over Redis by a host that has no process and no data folder."""
    environ: dict[str, Any] = {
        "LATCHKEY_STORE": empty_redis(),
        "LATCHKEY_DATABASE": postgres.url(postgres.database()),
    }
    folder = tmp_path / ("0" if where == "beside a process" else "nowhere")
    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                process(
                    tmp_path / str(number),
                    *(f"--process-number={number}", f"--secret-keys={KEY}"),
                    **environ,
                )
            )
            for number in range(2)
        ]
        ann = await stack.enter_async_context(browser("official", servers[0].url))
        await ann.sign_up("ann")
        sockets: list[Any] = []
        for server in servers:
            ann.url = server.url
            sockets.append(await ann.socket(reconnection=True))

        async def command(*arguments: str, program: str = "app.accounts") -> Any:
            code, out, error = await run(
                *arguments, "--json", f"--data-dir={folder}", program=program, **environ
            )
            assert (code, error) == (0, ""), error
            return json.loads(out)

        async def counted() -> bool:
            stats = await command("stats", program="app.sessions")
            processes: list[dict[str, int]] = stats["processes"]
            return processes == [
                {"number": 0, "connections": 1},
                {"number": 1, "connections": 1},
            ]

        await until(counted, 10)  # a process writes its connections a moment later
        assert (await command("disable", "ann"))["ended"] == 1
        await until(lambda: all(ended(socket) for socket in sockets))
        for server in servers:
            ann.url = server.url
            assert await who(ann) is None
            answer = await send(ann, "json", "/login", username="ann", password=PASSWORD)
            assert answer.status == 403
        await command("enable", "ann")
        await ann.sign_in("ann")
        (session,) = (await command("list", "--user=ann", program="app.sessions"))["sessions"]
        again = await ann.socket()
        await command("end", session["id"], program="app.sessions")
        await until(lambda: ended(again))
        events = [event["event"] for event in (await command("audit", "ann"))["events"]]
        assert {"disable", "enable", "session end", "sign-in"} <= {*events}
        assert not (tmp_path / "nowhere").exists()
