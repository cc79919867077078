"""The commands of docs/operators.md, run against a server, and their outputs.

`python -m tests.console.operators_document --write` writes the outputs into the page.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
import tempfile
from pathlib import Path

from pyotp.totp import TOTP

from tests.support.accounts import add
from tests.support.forms import send
from tests.support.paths import ROOT
from tests.support.process import process, run
from tests.support.visitor import Visitor

PAGE = ROOT / "docs" / "operators.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SITE = "--public-url=https://example.com"
#: What differs between two runs, and what stands for it in a comparison.
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "2026-11-30 09:46:14"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?!:)"), "2026-11-30 09:46"),
    (re.compile(r"\bu:[0-9a-f]{32}\b"), "u:" + "0" * 32),
    (re.compile(r"\b[0-9a-f]{32}\b"), "1" * 32),
    (re.compile(r"\b[0-9a-f]{12}\b"), "2" * 12),
    (re.compile(r"token=[\w-]{43}"), "token=" + "t" * 43),
)


def fixed(text: str) -> str:
    """Return a text whose times, ids and tokens are the same in each run."""
    for pattern, same in _VARYING:
        text = pattern.sub(same, text)
    return text


async def transcripts(folder: Path) -> list[str]:
    """Run the commands of the page, one after the other; return its blocks with outputs."""
    async with process(folder, _SITE) as server:
        flag = f"--data-dir={folder}"
        for name in ("carol", "Dave"):
            assert (await add("add", name, "--password-stdin", flag))[0] == 0
        async with Visitor(server.url) as bob, Visitor(server.url) as there:
            await bob.sign_up("bob")
            await bob.socket()
            await there.sign_in("bob")
            await _turn_two_step_on(bob)
            await there.get("/account")  # so that this session was seen last, as the page shows it
            async with Visitor(server.url) as eve:
                await eve.sign_up("eve")
            reader = _Reader(folder)
            blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
            return [await reader.block(block) for block in blocks]


async def _turn_two_step_on(visitor: Visitor) -> None:
    begun = await send(visitor, "json", "/account/sign-in/totp")
    code = TOTP(begun.json()["secret"]).now()
    answer = await send(visitor, "json", "/account/sign-in/totp/confirm", code=code)
    assert answer.status in (200, 307), answer.text


class _Reader:
    """Runs the commands of a block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._session = ""  # the first of the latest list, which ID stands for

    async def block(self, text: str) -> str:
        """Return a block with the outputs of its commands."""
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith("$ "):
                lines += [line, *await self._output(line[2:])]
        return "\n".join(lines) + "\n"

    async def _output(self, command: str) -> list[str]:
        python, option, program, *arguments = shlex.split(command)
        assert (python, option) == ("python", "-m")
        arguments = [self._session if word == "ID" else word for word in arguments]
        environ = {"COLUMNS": "100", "LATCHKEY_DATA_DIR": str(self._folder)}
        code, out, error = await run(*arguments, program=program, **environ)
        assert (code, error) == (0, ""), (command, error)
        lines = out.splitlines()
        if program == "app.sessions" and arguments[0] == "list" and len(lines) > 1:
            self._session = lines[1].split()[0]
        return lines


async def _write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        blocks = iter(await transcripts(Path(folder)))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_BLOCK.sub(lambda _: f"```console\n{next(blocks)}```", text), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.console.operators_document --write")
    asyncio.run(_write())
