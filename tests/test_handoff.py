"""A future whose result may be taken at once; the workers that take it are in test_tasks.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.handoff import Handoff, handoff
from tests.transport_kit import run


def given(waited: Handoff[Any], result: object) -> None:
    """Give the result, or fail with it, as far as somebody still waits."""
    if waited.done():
        return
    if isinstance(result, Exception):
        waited.fail(result)
    else:
        waited.give(result)


def test_who_takes_it_is_called_before_it_is_said_to_be_given() -> None:
    """With the future, which is done by then, whether it was resolved or has failed."""

    async def main() -> None:
        for result in (1, ValueError("no")):
            waited, taken = handoff(asyncio.get_running_loop()), []
            waited.taker = taken.append
            given(waited, result)
            assert taken == [waited]
            assert (waited.exception() or waited.result()) == result

    run(main())


def test_to_everybody_else_it_is_a_future() -> None:
    """A task that awaits it goes on in a later turn, and may be cancelled or tired of it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second, third, fourth = (handoff(loop) for _ in range(4))
        loop.call_later(0.01, given, first, 1)
        loop.call_later(0.01, given, second, ValueError("no"))
        assert await first == 1
        with pytest.raises(ValueError, match="no"):
            await second
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(third, 0.01)
        assert third.cancelled()
        waiting = asyncio.ensure_future(asyncio.gather(fourth))
        given(fourth, 4)
        assert not waiting.done()
        assert await waiting == [4]

    run(main())
