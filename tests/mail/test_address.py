"""Addresses as users type them."""

from __future__ import annotations

import pytest

from app.mail import InvalidAddress, clean_address, shown_address


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("ann@example.org", "ann@example.org"),
        (" Ann.O'Neil+site@Example.ORG ", "ann.o'neil+site@example.org"),
        ("ann@müller.example", "ann@xn--mller-kva.example"),
        ("ann@xn--mller-kva.example", "ann@xn--mller-kva.example"),
    ],
)
def test_an_address_is_stored_in_lower_case_and_ascii(typed: str, stored: str) -> None:
    assert clean_address(typed) == stored


def test_people_see_the_domain_in_its_script() -> None:
    assert shown_address("ann@xn--mller-kva.example") == "ann@müller.example"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ann",
        "@example.org",
        "ann@",
        "ann@localhost",
        "ann@exa mple.org",
        "ann@example.org\r\nBcc: bob@example.org",
        "ann\n@example.org",
        "ann@example.org, bob@example.org",
        "Ann <ann@example.org>",
        '"a b"@example.org',
        "a..b@example.org",
        "ännchen@example.org",
        "ann@straße.example",
        "ann@-example.org",
        "ann@example..org",
        "a" * 65 + "@example.org",
        "ann@" + "a" * 64 + ".org",
        "ann@" + "abc." * 80 + "org",
        "ann@" + "a" * 100_000,
        "ann@\ud800.org",
        "ann@exam\0ple.org",
    ],
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(InvalidAddress):
        clean_address(typed)
