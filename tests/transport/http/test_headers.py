"""The header fields: our class has Tornado's interface."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from app.transport.http.headers import Headers

NAMES = st.sampled_from(["Host", "host", "set-cookie", "Set-Cookie", "X-A", "x-a-B", "ETag"])
VALUES = st.text("abc ,=", min_size=1).map(str.strip).filter(bool)
STEPS = st.lists(st.tuples(st.sampled_from(["add", "set", "delete"]), NAMES, VALUES), max_size=12)


def changed(headers: HTTPHeaders, steps: list[tuple[str, str, str]]) -> HTTPHeaders:
    for step, name, value in steps:
        if step == "add":
            headers.add(name, value)
        elif step == "set":
            headers[name] = value
        elif name in headers:
            del headers[name]
    return headers


@given(STEPS)
def test_headers_equal_tornados(steps: list[tuple[str, str, str]]) -> None:
    """Compare all reading methods after any changes."""
    ours, theirs = changed(Headers(), steps), changed(HTTPHeaders(), steps)
    assert isinstance(ours, HTTPHeaders)
    assert ours == theirs
    assert len(ours) == len(theirs)
    assert list(ours.get_all()) == list(theirs.get_all())
    assert list(ours.items()) == list(theirs.items())
    assert str(ours) == str(theirs)
    for name in ("Host", "SET-COOKIE", "x-a", "Etag", "Absent"):
        assert ours.get(name) == theirs.get(name)
        assert ours.get(name, "none") == theirs.get(name, "none")
        assert ours.get_list(name) == theirs.get_list(name)
        assert (name in ours) == (name in theirs)


@given(STEPS)
def test_a_copy_is_independent(steps: list[tuple[str, str, str]]) -> None:
    """Each response begins with a copy, and must not change the next one's."""
    original = Headers([("Host", "a"), ("X-A", "b"), ("X-A", "c")])
    before = list(original.get_all())
    for twin in (original.copy(), copy.copy(original)):
        assert type(twin) is Headers
        assert list(twin.get_all()) == before
        changed(twin, steps)
    assert list(original.get_all()) == before


def test_no_inherited_method_reads_tornados_own_fields() -> None:
    """Review methods that a new release adds before they are used."""
    inherited = {
        name
        for name, method in vars(HTTPHeaders).items()
        if callable(method) or isinstance(method, classmethod)
    } - vars(Headers).keys()
    # parse_line and parse call add(); __str__ formats the result of get_all()
    assert inherited <= {"parse_line", "parse", "__str__", "__unicode__"}
