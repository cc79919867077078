"""Programs of tests that fork from a process with all imports."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import forked


async def test_a_program_that_has_ended_can_still_be_asked_for_its_outputs() -> None:
    child = await forked.start("app", "--version", environ=os.environ)
    assert await child.wait() == 0
    out, err = await child.communicate(b"too late\n")
    assert out.startswith(b"latchkey ")
    assert err == b""
    with pytest.raises(ProcessLookupError):
        child.send_signal(signal.SIGTERM)


async def test_a_program_need_not_read_its_input() -> None:
    child = await forked.start("app", "--nonsense", environ=os.environ)
    out, err = await child.communicate(b"a word\n" * 1000)
    assert (await child.wait(), out) == (2, b"")
    assert b"--nonsense" in err
