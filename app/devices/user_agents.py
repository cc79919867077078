"""What browser and system a User-Agent header names, in words.

The header may say anything, so this is a hint for the owner of a session and nothing more.
"""

from __future__ import annotations

import asyncio
import functools
from time import perf_counter, sleep
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ua_parser import Parser

_LONGEST = 512  # characters that are looked at
_LONGEST_NAME = 40
# Up to 8 ms of Python each, and clients choose them: enough for all sessions of 200 users.
_MOST_REMEMBERED = 20_000
_SLOW = 0.0005  # seconds after which one was not remembered


class UserAgent(NamedTuple):
    """A browser and the system that it runs on; an empty text for what is not known."""

    browser: str
    system: str


@functools.cache
def _parser() -> Parser:
    """Load the parser with its rules; a tenth of a second, so not before somebody asks."""
    from ua_parser import Parser
    from ua_parser.basic import Resolver
    from ua_parser.loaders import load_lazy_builtins

    # by the rules in plain Python, and not by what else may be installed: one answer everywhere
    return Parser(Resolver(load_lazy_builtins()))


def _name(family: str, major: str | None) -> str:
    return (f"{family} {major}" if major else family)[:_LONGEST_NAME]


@functools.lru_cache(_MOST_REMEMBERED)
def _parse(header: str) -> UserAgent:
    browser, system = _parser().parse_user_agent(header), _parser().parse_os(header)
    # the version that browsers tell of their system has been frozen for years
    return UserAgent(
        _name(browser.family, browser.major) if browser else "",
        system.family[:_LONGEST_NAME] if system else "",
    )


async def describe(headers: set[str]) -> dict[str, UserAgent]:
    """Return what each of these headers names; the work is done in a thread."""
    return await asyncio.to_thread(_describe, headers)


def _describe(headers: set[str]) -> dict[str, UserAgent]:
    found: dict[str, UserAgent] = {}
    for header in headers:
        began = perf_counter()
        found[header] = _parse(header[:_LONGEST])
        took = perf_counter() - began
        if took > _SLOW:
            sleep(took)  # the event loop needs the interpreter too
    return found
