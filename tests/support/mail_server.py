"""A mail server on a loopback port: it keeps what it gets, or refuses it as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP

from tests.support.waiting import until


class MailServer:
    """The handler of aiosmtpd's server."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answers: list[str] = []  # to the next mails, before it takes any
        self.tries = 0
        self.hold: asyncio.Event | None = None  # until it is set, the server does not answer
        self.port = 0

    @property
    def url(self) -> str:
        """Return the setting --mail."""
        return f"smtp://127.0.0.1:{self.port}?from=Site%20<no-reply@example.org>&starttls=no"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take a mail (aiosmtpd calls this)."""
        self.tries += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.answers:
            return self.answers.pop(0)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        assert envelope.rcpt_tos == [str(message["To"])]
        self.mails.append(message)
        return "250 OK"

    async def mail(self, number: int = 1) -> EmailMessage:
        """Wait until it has this many mails; return the last one."""
        await until(lambda: len(self.mails) >= number)
        assert len(self.mails) == number, [str(mail["Subject"]) for mail in self.mails]
        return self.mails[-1]


def text(mail: EmailMessage) -> str:
    """Return the text of a mail."""
    return str(mail.get_content()).replace("\r\n", "\n")


def link(mail: EmailMessage) -> str:
    """Return the path and the query of the link in a mail."""
    found = re.search(r"https://example\.org(/\S+)", text(mail))
    assert found is not None, text(mail)
    return found[1]


def token(mail: EmailMessage) -> str:
    """Return the token of the link in a mail."""
    return link(mail).partition("token=")[2]


@contextlib.asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """Run a mail server on the loop of the test."""
    handler = MailServer()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="localhost", loop=loop), "127.0.0.1", 0
    )
    handler.port = server.sockets[0].getsockname()[1]
    try:
        yield handler
    finally:
        if handler.hold is not None:
            handler.hold.set()
        server.close()


def mail_options(server: MailServer) -> dict[str, Any]:
    """Return the settings of a site that sends its mails to this server."""
    from app.settings.mail import mail_server as read

    return {"mail": read(server.url), "public_url": "https://example.org"}
