"""A site that is upgraded: its repository, its two processes, and the command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.ports import free_port

# Restarts a process as systemd does: it ends the old one first, and starts what is current.
RESTART = """#!/bin/sh
cd {root} || exit 1
if [ -e pid$1 ]; then
    kill $(cat pid$1) 2>/dev/null
    while kill -0 $(cat pid$1) 2>/dev/null; do sleep 0.05; done
fi
set -a; . ./env; set +a
cd current || exit 1
port=$(({port} + $1))
setsid .venv/bin/python -m app --process-number=$1 --port=$port --data-dir={root}/data/$1 \
    >>{root}/log$1 2>&1 </dev/null &
echo $! >{root}/pid$1
"""
PYTHON = """#!/bin/sh
exec {python} "$@"
"""


class ReleaseSite:
    """A fork's repository with tags, and the folder of the releases that are made of it."""

    def __init__(self, folder: Path, **environ: str) -> None:
        """`environ` are the settings of its processes."""
        self.root, self.source = folder / "site", folder / "source"
        self.port = free_port()
        self.root.mkdir()
        (self.root / "data").mkdir()
        settings = {"LATCHKEY_SECRET_KEY_FILE": str(self.root / "keys"), **environ}
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (self.root / "env").write_text("".join(lines))
        self._script("restart", RESTART.format(root=self.root, port=self.port))
        # not a link, by which Python would not find the packages of its environment
        self._script("python", PYTHON.format(python=sys.executable))
        make = f"mkdir -p .venv/bin && cp {self.root}/python .venv/bin"
        self._script("packages", f"#!/bin/sh\n{make}\n")
        options = {
            "source": str(self.source),
            "processes": "0,1",
            "restart": f"{self.root}/restart {{number}}",
            "packages": f"{self.root}/packages",
            "first_port": self.port,
            "arguments": f"--process-number={{number}} --port={{port}} "
            f"--data-dir={self.root}/data/{{number}}",
            "env_file": str(self.root / "env"),
            "settle": 1,
            "ready_timeout": 20,
        }
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
        (self.root / "release.toml").write_text(text)
        self.source.mkdir()
        self._git("init", "--quiet")

    def url(self, number: int) -> str:
        """Return the address of a process."""
        return f"http://127.0.0.1:{self.port + number}"

    def pid(self, number: int) -> int:
        """Return the id of a process."""
        return int((self.root / f"pid{number}").read_text())

    def current(self) -> str:
        """Return the name of the release that is current."""
        return (self.root / "current").resolve().name

    def log(self, number: int) -> str:
        """Return what a process has logged."""
        return (self.root / f"log{number}").read_text()

    # -- the repository --

    def write(self, path: str, text: str) -> None:
        """Write a file of the repository."""
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, tag: str) -> None:
        """Commit what is in the repository, under this tag."""
        self._git("add", "--all", "--force")
        self._git("-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "-qm", tag)
        self._git("tag", tag)

    def _git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.source, check=True, capture_output=True)

    def _script(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)
        (self.root / name).chmod(0o755)

    # -- the command --

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        """Start the command, whose output goes to a pipe."""
        return await asyncio.create_subprocess_exec(
            # without site, so without any package: it has to run by the standard library alone
            *(sys.executable, "-S", "-E", "-m", "app.release", *words, f"--root={self.root}"),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def run(self, *words: str) -> tuple[int, str]:
        """Run the command; return its exit code, and what it says."""
        command = await self.start(*words)
        out, _ = await command.communicate()
        assert command.returncode is not None
        return command.returncode, out.decode()

    def stop(self) -> None:
        """End the processes."""
        for path in self.root.glob("pid?"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGKILL)
