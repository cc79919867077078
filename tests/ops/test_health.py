"""`python -m app.health`, with which supervisors check a process by a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.process import process, run

WELL = (0, '{"status": "alive"}\n', "")
READY = (0, '{"status": "ready", "failed": []}\n', "")


async def ask(*flags: str, **environ: str) -> tuple[int, str, str]:
    """Run the command; return its code, output and errors."""
    return await run(*flags, program="app.health", **environ)


async def test_it_asks_the_process_of_its_settings(tmp_path: Path) -> None:
    """By a port, whatever address the process listens on, and by the environment."""
    async with process(tmp_path, "--host=0.0.0.0", "--store=memory") as server:
        port = server.url.rpartition(":")[2]
        assert await ask(f"--port={port}") == WELL
        assert await ask("--ready", LATCHKEY_PORT=port, LATCHKEY_HOST="0.0.0.0") == READY
        # other settings are those of the server, and are not looked at
        assert await ask(f"--port={port}", LATCHKEY_CHAT_LONGEST="x", LATCHKEY_STORE="?") == WELL


async def test_it_asks_by_a_unix_socket_and_below_a_path(tmp_path: Path) -> None:
    """The Unix socket comes first if there are both."""
    flags = (f"--unix-socket={tmp_path / 's'}", "--host=127.0.0.1", "--base-path=/app")
    async with process(tmp_path / "data", *flags, "--store=memory"):
        assert await ask(*flags, f"--port={free_port()}") == WELL
        assert await ask(*flags, "--ready") == READY
        code, _, _ = await ask(flags[0])
        assert code == 1  # without the path the process has no such page


@pytest.mark.parametrize("flags", [("--port=1",), ("--unix-socket=/nowhere",)])
async def test_no_answer_is_a_sentence_and_1(flags: tuple[str, ...]) -> None:
    """Nobody listens."""
    code, out, err = await ask(*flags, "--ready")
    assert (code, out) == (1, "")
    assert err.startswith("error: no answer to /readyz: ")
    assert "Traceback" not in err


async def test_a_wrong_call_is_a_sentence_and_2() -> None:
    """As for the program itself."""
    code, _, err = await ask("--port=many")
    assert code == 2
    assert err.startswith("error: --port")
