"""Hooks with wrong parameters stop the start, with a sentence that says what they take."""

from __future__ import annotations

from typing import Any

import pytest

from app.extensions import InvalidModule, load_extensions
from app.hooks import TAKES
from tests.support.fork import fork


def nothing() -> None:
    """Take no argument."""


def anything(*arguments: Any) -> None:
    """Take what comes."""


@pytest.mark.parametrize("name", TAKES)
def test_a_hook_with_wrong_parameters_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes what it gets is accepted."""
    load_extensions(fork(monkeypatch, **{name: anything})[-1:])
    modules = fork(monkeypatch, **{name: nothing})[-1:]
    call = rf"{name}\({', '.join(TAKES[name])}\)( or {name}\(account, services\))?"
    with pytest.raises(InvalidModule, match=rf"^{modules[0]}: {name}\(\) .*as {call}; change"):
        load_extensions(modules)


def test_a_hook_that_is_no_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is: the module has no such hook."""
    load_extensions(fork(monkeypatch, on_login=None)[-1:])
    with pytest.raises(InvalidModule, match=r"`on_login` is no function; write one"):
        load_extensions(fork(monkeypatch, on_login="greet")[-1:])
