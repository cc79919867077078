"""A mail as it is sent."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, make_msgid

_MAX_LINE = 900  # characters; RFC 5322 allows 998


def make_message(sender: Address, to: str, subject: str, text: str) -> EmailMessage:
    """Return a plain mail; `to` is a clean address. No value can add a header."""
    message = EmailMessage(SMTP)
    message["From"] = sender
    message["To"] = Address(addr_spec=to)
    message["Subject"] = " ".join(subject.split())
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = make_msgid(domain=sender.domain)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    plain = text.isascii() and max(map(len, text.splitlines()), default=0) < _MAX_LINE
    message.set_content(text, cte="7bit" if plain else "quoted-printable")
    return message


def recipient_domain(message: EmailMessage) -> str:
    """Return the domain that a mail goes to; logs name this much of an address."""
    return str(message["To"]).strip("<>").rpartition("@")[2]
