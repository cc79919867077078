"""What browser and system a User-Agent header names, in words.

The header may say anything, so this is a hint for the owner of a session and nothing more.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ua_parser import Parser

_LONGEST = 512  # characters that are looked at
_LONGEST_NAME = 40
_MOST_REMEMBERED = 1024


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

    def work() -> dict[str, UserAgent]:
        return {header: _parse(header[:_LONGEST]) for header in headers}

    return await asyncio.to_thread(work)
