"""Addresses of mailboxes, as users type them and as mails carry them."""

from __future__ import annotations

import re

_MAX_LENGTH = 254  # characters (RFC 5321, 4.5.3.1.3, without the angle brackets)
# what mail providers give out; quoted local parts are not accepted
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class InvalidAddress(ValueError):
    """This is no address of a mailbox; the message is for the user."""


def clean_address(text: str) -> str:
    """Return an address as it is stored and compared; raises InvalidAddress.

    It is in lower case, with the domain in ASCII (IDNA). Nothing in it can end a header.
    """
    local, at, domain = text.strip().rpartition("@")
    if not at or len(text) > 2 * _MAX_LENGTH or not _LOCAL.fullmatch(local) or len(local) > 64:
        raise InvalidAddress("Enter an address such as ann@example.org.")
    clean = f"{local.lower()}@{_domain(domain)}"
    if len(clean) > _MAX_LENGTH:
        raise InvalidAddress("This address is too long.")
    return clean


def shown_address(address: str) -> str:
    """Return an address for people, with the domain in its own script."""
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{domain.encode('ascii').decode('idna')}"
    except UnicodeError:
        return address


def _domain(text: str) -> str:
    """Return a domain in ASCII; raises InvalidAddress."""
    domain = _in_ascii(text.lower())
    labels = domain.split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidAddress("Enter an address whose end is the name of a host, as example.org.")
    return domain


def _in_ascii(text: str) -> str:
    """Return a domain in ASCII; an empty string if it has no such form."""
    try:
        domain = text.encode("idna").decode("ascii")
        # IDNA 2003 turns some letters into others, such as ß into ss: that is another domain
        return domain if text in (domain, domain.encode().decode("idna")) else ""
    except UnicodeError:
        return ""
