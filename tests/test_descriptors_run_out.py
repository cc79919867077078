"""A process that has run out of descriptors waits for one; it does not spin."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path

from tests.kit import ROOT
from tests.raw import Raw


async def test_no_descriptor_left_is_neither_a_busy_loop_nor_a_full_log(tmp_path: Path) -> None:
    """Idle connections take all descriptors: little CPU, a few log lines, and then it goes on."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))

    log = tmp_path / "log"
    with log.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app",
            "--port=0",
            "--store=memory",
            f"--data-dir={tmp_path / 'data'}",
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            preexec_fn=few,
        )
    try:
        assert child.stdout is not None
        url = (
            "http://" + (await child.stdout.readline()).decode().partition("http://")[2].split()[0]
        )
        port = int(url.rpartition(":")[2])

        def seconds() -> float:
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(120)]
        before = seconds()
        await asyncio.sleep(2)
        spent = seconds() - before
        for _, writer in idle:
            writer.close()
        await asyncio.sleep(1)
        async with Raw(url) as raw:
            assert (await raw.ask("/healthz")).status == 200
        assert spent < 0.5, f"{spent} s of CPU in 2 s"
        assert log.stat().st_size < 20_000
    finally:
        child.kill()
        await child.wait()
