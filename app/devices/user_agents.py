"""The browser and the system that a User-Agent header names.

A client may send any header, so the names are a hint for the owner of a session, not a fact.
"""

from __future__ import annotations

import asyncio
import functools
from time import perf_counter, sleep
from typing import Any, NamedTuple

_MAX_LENGTH = 512  # characters of a header that are parsed
_MAX_NAME_LENGTH = 40
# Parsing takes up to 8 ms, and clients choose the headers: enough for all sessions of 200 users.
_MAX_CACHED = 20_000
_CACHE_HIT_TIME = 0.0005  # seconds; a header that took longer was parsed


class UserAgent(NamedTuple):
    """A browser and the system that it runs on; empty strings if unknown."""

    browser: str
    system: str


def device_name(browser: str, system: str) -> str:
    """Return the name of a device, such as "Firefox 132 on Linux"."""
    return " on ".join(filter(None, [browser or "Unknown browser", system]))


@functools.cache
def _parser() -> Any:
    """Load the parser with its rules on first use, which takes a tenth of a second."""
    from ua_parser import Parser
    from ua_parser.basic import Resolver
    from ua_parser.loaders import load_lazy_builtins

    # ua_parser would pick a faster resolver if one is installed, which may answer otherwise
    return Parser(Resolver(load_lazy_builtins()))


def _name(family: str, major: str | None) -> str:
    return (f"{family} {major}" if major else family)[:_MAX_NAME_LENGTH]


@functools.lru_cache(_MAX_CACHED)
def _parse(header: str) -> UserAgent:
    browser, system = _parser().parse_user_agent(header), _parser().parse_os(header)
    # browsers have frozen the system's version for years, so it says nothing
    return UserAgent(
        _name(browser.family, browser.major) if browser else "",
        system.family[:_MAX_NAME_LENGTH] if system else "",
    )


async def describe(headers: set[str]) -> dict[str, UserAgent]:
    """Return what each of these headers names; a thread does the work."""
    return await asyncio.to_thread(_describe, headers)


def _describe(headers: set[str]) -> dict[str, UserAgent]:
    found: dict[str, UserAgent] = {}
    for header in headers:
        began = perf_counter()
        found[header] = _parse(header[:_MAX_LENGTH])
        took = perf_counter() - began
        if took > _CACHE_HIT_TIME:
            sleep(took)  # so that the event loop gets the interpreter half of the time
    return found
