"""Commands to processes that hang."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.common import unix_socket
from app.ops import control_client
from app.ops.control import CommandFailed, ControlSocket
from app.ops.control_client import ProcessHangs, call


@contextlib.contextmanager
def frozen(path: Path) -> Iterator[socket.socket]:
    """Listen as a stopped process does: the kernel accepts connections, and no answer comes."""
    made = unix_socket.listen(path, 0o600)
    try:
        yield made.sock
    finally:
        made.remove()
        made.sock.close()


async def test_a_process_that_hangs_is_asked_to_do_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would do later what the operator was told has failed."""
    monkeypatch.setattr(control_client, "_HUNG_AFTER", 0.1)
    with frozen(tmp_path / "control.sock") as listener:
        with pytest.raises(ProcessHangs, match=r"control\.sock hangs.*Nothing was changed"):
            await asyncio.to_thread(call, tmp_path, "end", {}, timeout=5)
        connection, _ = listener.accept()
        with connection:
            assert json.loads(connection.recv(1000)) == {"command": ""}


async def test_another_process_of_the_folder_is_asked_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_client, "_HUNG_AFTER", 0.1)

    async def add(arguments: Any) -> int:
        return arguments["a"] + 1  # type: ignore[no-any-return]

    other = ControlSocket(tmp_path / "control-1.sock", {"add": add})
    await other.start()
    try:
        with frozen(tmp_path / "control.sock"):
            assert await asyncio.to_thread(call, tmp_path, "add", {"a": 1}, timeout=5) == 2
    finally:
        await other.stop()


async def test_a_command_that_takes_too_long_may_still_be_done(tmp_path: Path) -> None:
    async def never(arguments: Any) -> None:
        await asyncio.Event().wait()

    server = ControlSocket(tmp_path / "control.sock", {"never": never})
    await server.start()
    try:
        with pytest.raises(CommandFailed, match=r"within 0\.1 s; what you asked for may still"):
            await asyncio.to_thread(call, tmp_path, "never", {}, timeout=0.1)
    finally:
        await server.stop()
