"""Attributes that are computed when they are read for the first time."""

from __future__ import annotations

from app.common.cached_value import cached_value
from tests.support.attributes import has_dict


class Page:
    def __init__(self) -> None:
        self.words = "a b"
        self.computed = 0

    @cached_value
    def count(self) -> int:
        """The number of words."""
        self.computed += 1
        return len(self.words.split())


def test_it_is_computed_once_for_each_object() -> None:
    one, other = Page(), Page()
    other.words = "a b c"
    assert (one.count, other.count, one.count, other.count) == (2, 3, 2, 3)
    assert (one.computed, other.computed) == (1, 1)


def test_it_can_be_set_and_deleted() -> None:
    page = Page()
    assert page.count == 2
    setattr(page, "count", 7)  # noqa: B010  # to type checkers it is read-only
    assert page.count == 7
    delattr(page, "count")
    assert (page.count, page.computed) == (2, 2)


def test_the_class_shows_its_documentation() -> None:
    assert Page.count.__doc__ == "The number of words."


def test_the_object_gets_no_dict() -> None:
    """With one, Python 3.11 needs longer for each of its attributes. Later releases do not."""
    page = Page()
    assert page.count == 2
    assert not has_dict(page)
