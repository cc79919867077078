"""The reader of --mail."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.utils import parseaddr
from types import MappingProxyType
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from app.settings.values import SettingsError

_PORTS = MappingProxyType({"smtp": 587, "smtps": 465})
_LOCAL = ("localhost", "127.0.0.1", "::1")
_FORM = (
    "must be smtp://USER:PASSWORD@HOST:PORT?from=ADDRESS (STARTTLS) or smtps://… (TLS), with each "
    "of @ / ? # % : in a user or a password as %40 %2F %3F %23 %25 %3A; &starttls=no for a server "
    "on this machine"
)


@dataclass(frozen=True)
class MailServer:
    """The server that takes mails, and how to reach it."""

    host: str
    port: int
    tls: Literal["from the start", "by STARTTLS", "none"]
    sender: Address
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"


def mail_server(value: str) -> MailServer | None:
    """Return the server of a URL; None for an empty string."""
    if not value:
        return None
    try:
        parts = urlsplit(value)
        port = parts.port or _PORTS[parts.scheme]
        options = dict(parse_qsl(parts.query, strict_parsing=True))
        sender = _sender(options.pop("from"))
        starttls = options.pop("starttls", "yes")
    except (ValueError, KeyError):
        raise SettingsError(_FORM) from None
    if options or not parts.hostname or parts.path.strip("/") or starttls not in ("yes", "no"):
        raise SettingsError(_FORM)
    by = "from the start" if parts.scheme == "smtps" else _by(starttls)
    server = MailServer(
        parts.hostname,
        port,
        by,
        sender,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )
    if server.password and by == "none" and server.host not in _LOCAL:
        raise SettingsError("would send the password unencrypted; leave out starttls=no")
    return server


def _by(starttls: str) -> Literal["by STARTTLS", "none"]:
    return "by STARTTLS" if starttls == "yes" else "none"


def _sender(text: str) -> Address:
    """Return the address of `from`, which may have a name; raises ValueError."""
    if any(ord(letter) < 0x20 for letter in text):
        raise ValueError(text)
    name, spec = parseaddr(text)
    if not re.fullmatch(r"[^\s@<>\x00-\x1f]+@[^\s@<>\x00-\x1f]+", spec, re.ASCII):
        raise ValueError(text)
    return Address(name, addr_spec=spec)
