"""The browser and the system that a User-Agent header names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.devices.user_agents import _parse, describe
from tests.support.paths import ROOT

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0"


@pytest.mark.parametrize(
    ("header", "browser", "system"),
    [
        (f"Mozilla/5.0 (X11; Linux x86_64) {CHROME} Safari/537.36", "Chrome 130", "Linux"),
        (
            f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36",
            "Chrome Mobile 130",
            "Android",
        ),
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/130.0.0.0",
            "Edge 130",
            "Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/17.4 Safari/605.1.15",
            "Safari 17",
            "Mac OS X",
        ),
        ("curl/8.5.0", "curl 8", ""),
        ("", "", ""),
        ("nothing of note", "", ""),
    ],
)
async def test_browsers_and_systems(header: str, browser: str, system: str) -> None:
    """The families that people use, in words that they know."""
    assert (await describe({header}))[header] == (browser, system)


async def test_a_long_header_is_parsed_in_part() -> None:
    """What stands beyond a reasonable length counts for nothing."""
    header = "x" * 600 + " Firefox/132.0"
    assert (await describe({header}))[header] == ("", "")


def test_the_rules_are_loaded_on_first_use() -> None:
    """They take a tenth of a second, which no start has to wait for."""
    code = "import sys, app.application; print('ua_parser' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


async def test_headers_of_many_sessions_are_looked_at_once() -> None:
    """A client cannot have a thousand made-up headers checked again and again."""
    headers = {f"a/{number}" for number in range(1100)}
    await describe(headers)
    looked = _parse.cache_info().misses
    await describe(headers)
    assert _parse.cache_info().misses == looked
