"""The supervisor of --reload: it listens, watches files, and has one child serve."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.common.background import cancel_all
from app.ops.listening import Listening
from app.reload.child import GO, READY, VARIABLE
from app.reload.files import Files

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENT = 1.0  # seconds after which a child that stops is told to hurry
_KILL_TIMEOUT = 10.0  # seconds after which a child that does not stop is killed
_CTRL_C_TIMEOUT = 3.0  # the same, when the user wants to stop


class Supervisor:
    """Replaces the child whenever files change; connections wait meanwhile, and none is refused.

    A new child first imports the code. If that fails the old child goes on serving.
    """

    def __init__(self, listening: Listening, roots: Sequence[Path]) -> None:
        self._listening = listening
        self._files = Files(roots)
        self._child: Child | None = None
        self._stopping: asyncio.Future[signal.Signals] | None = None

    async def run(self) -> int:
        """Run until SIGINT or SIGTERM; return the exit code of the last child."""
        loop = asyncio.get_running_loop()
        stopping = self._stopping = loop.create_future()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._received, number)
        changed: asyncio.Task[Any] | None = None
        try:
            await self._replace()
            while not stopping.done():
                changed = changed or loop.create_task(self._files.changed())
                waiting: set[asyncio.Future[Any]] = {changed, stopping}
                if self._child is not None:
                    waiting.add(self._child.exited)
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    break
                if self._child is not None and self._child.exited.done():
                    self._report_exit()
                if changed.done():
                    _say(f"{_names(changed.result())} changed")
                    changed = None
                    await self._replace()
            return await self._end(stopping.result())
        finally:
            await cancel_all({changed} if changed else set())
            if self._child is not None:
                await self._child.stop()
            self._listening.close()

    def _received(self, number: signal.Signals) -> None:
        assert self._stopping is not None
        if not self._stopping.done():
            self._stopping.set_result(number)
        elif self._child is not None:
            self._child.send(number)

    async def _replace(self) -> None:
        """Start a child with the new code, and stop the one before once it can serve.

        If the supervisor is asked to stop meanwhile, the new child ends without a word.
        """
        assert self._stopping is not None
        new = await Child.start(self._listening)
        ready = asyncio.ensure_future(new.ready())
        waiting: set[asyncio.Future[Any]] = {ready, self._stopping}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await cancel_all({ready})
        if not self._stopping.done() and ready.result():
            if self._child is not None:
                await self._child.stop()
                self._child = None
            if not self._stopping.done():
                new.go()
                self._child = new
                return
        await new.stop()
        if not self._stopping.done():
            old = "the old code goes on" if self._child else "nothing is served"
            _say(f"the new code does not start, {old}; waiting for the next change")

    def _report_exit(self) -> None:
        assert self._child is not None
        _say(f"the program ended with code {self._child.exited.result()}; waiting for a change")
        self._child.end_turn()
        self._child = None

    async def _end(self, number: signal.Signals) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        if number == signal.SIGINT and _owns_terminal():
            # Ctrl-C has reached the child too; a debugger may keep it from acting on that
            await asyncio.wait({child.exited}, timeout=_PATIENT)
        if number == signal.SIGTERM:
            child.send(number)
            await asyncio.wait({child.exited})
        return await child.stop(_CTRL_C_TIMEOUT)


class Child:
    """One process that serves, or is about to."""

    def __init__(self, process: asyncio.subprocess.Process, turn: int, answer: int) -> None:
        self._process = process
        self._turn, self._answer = turn, answer
        self._importing = True
        #: Its exit code.
        self.exited = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(cls, listening: Listening) -> Child:
        """Run the command of this process again; the child takes the sockets at its turn.

        Until then Ctrl-C at the terminal is for the supervisor alone. So SIGINT is blocked in the
        child: Python's start and imports would print a traceback.
        """
        its_turn, turn = os.pipe()
        answer, its_answer = os.pipe()
        passed = [its_turn, its_answer, *(sock.fileno() for sock in listening.sockets)]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = await asyncio.create_subprocess_exec(
                *[sys.executable, *sys.orig_argv[1:]],
                env={**os.environ, VARIABLE: ",".join(map(str, passed))},
                pass_fds=passed,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(its_turn)
            os.close(its_answer)
        return cls(process, turn, answer)

    async def ready(self) -> bool:
        """Wait until the child has imported the code; return False if it ends before."""
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            loop.remove_reader(self._answer)
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(self._answer, wake)
        try:
            await readable
        finally:
            loop.remove_reader(self._answer)
        self._importing = os.read(self._answer, 1) != READY
        return not self._importing

    def go(self) -> None:
        """Let the child serve."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._turn, GO)

    def end_turn(self) -> None:
        """Ask the child to stop; a second call does nothing."""
        for descriptor in (self._turn, self._answer):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._turn = self._answer = -1

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the child is still there."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, kill_timeout: float = _KILL_TIMEOUT) -> int:
        """Stop the child, kill it if it does not stop in time; return its exit code."""
        self.end_turn()
        if self._importing:  # it has nothing to finish, and does not look at its turn
            self.send(signal.SIGTERM)
        await asyncio.wait({self.exited}, timeout=_PATIENT)
        if not self.exited.done():
            self.send(signal.SIGTERM)  # it hurries at a second request
            await asyncio.wait({self.exited}, timeout=kill_timeout)
        if not self.exited.done():
            _say(f"the program does not stop within {kill_timeout:g} s and is killed")
            self.send(signal.SIGKILL)
        return await self.exited


def _owns_terminal() -> bool:
    """Whether Ctrl-C at the terminal is sent to this process and its child."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


def _names(paths: Sequence[Path]) -> str:
    here = Path.cwd()
    names = [str(path.relative_to(here) if path.is_relative_to(here) else path) for path in paths]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _say(sentence: str) -> None:
    print(f"latchkey: reload: {sentence}", file=sys.stderr, flush=True)
