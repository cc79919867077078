"""A future whose result may be taken at once; the workers that take it are in test_tasks.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.handoff import handoff
from tests.transport_kit import run


def test_who_takes_it_is_called_before_it_is_said_to_be_given() -> None:
    """With the future, which is done by then, whether it was resolved or has failed."""

    async def main() -> None:
        loop, taken = asyncio.get_running_loop(), list[Any]()
        first, second = handoff(loop), handoff(loop)
        first.taker = second.taker = taken.append
        first.give(1)
        assert taken == [first]
        assert first.result() == 1
        second.fail(ValueError("no"))
        assert taken == [first, second]
        assert str(second.exception()) == "no"

    run(main())


def test_to_everybody_else_it_is_a_future() -> None:
    """A task that awaits it goes on in a later turn, and may be tired of it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second, third, fourth = (handoff(loop) for _ in range(4))
        loop.call_later(0.01, first.give, 1)
        loop.call_later(0.01, second.fail, ValueError("no"))
        assert await first == 1
        with pytest.raises(ValueError, match="no"):
            await second
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(third, 0.01)
        assert third.cancelled()
        waiting = asyncio.ensure_future(asyncio.gather(fourth))
        fourth.give(4)
        assert not waiting.done()
        assert await waiting == [4]

    run(main())
