"""Hands mails to the server of --mail; only this file uses aiosmtplib."""

from __future__ import annotations

import ssl
from email.message import EmailMessage

import aiosmtplib

from app.settings import MailServer

_TIMEOUT = 20.0  # seconds for a connection, and for each answer
_PERMANENT = 500  # answers from here on will be the same next time (RFC 5321, 4.2.1)


class MailRefused(Exception):
    """The server will never take this mail."""


class MailNotSent(Exception):
    """The server did not take this mail now; it may do so later."""


class Smtp:
    """The server of --mail. Each mail has a connection of its own."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        # made once, because it reads the certificates of the system
        self._tls = None if server.tls == "none" else ssl.create_default_context()

    async def send(self, message: EmailMessage) -> None:
        """Hand a mail over; raises MailRefused or MailNotSent, with the reason."""
        try:
            async with self._connection() as client:
                await client.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            _raise(error.recipients[0])
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            _raise(error)

    async def check(self) -> None:
        """Connect and log in; raises MailRefused or MailNotSent."""
        try:
            async with self._connection() as client:
                await client.noop()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            _raise(error)

    def _connection(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password or None,
            # given, because the library would ask the DNS for it and block
            local_hostname=server.sender.domain,
            timeout=_TIMEOUT,
            use_tls=server.tls == "from the start",
            start_tls=server.tls == "by STARTTLS",
            tls_context=self._tls,
        )


def _raise(error: Exception) -> None:
    """Raise MailRefused or MailNotSent for an error of the library."""
    why = f"{type(error).__name__}: {str(error)[:300]}"
    code = getattr(error, "code", 0)
    login = isinstance(error, aiosmtplib.SMTPAuthenticationError)  # the operator may mend it
    if isinstance(error, aiosmtplib.SMTPResponseException) and code >= _PERMANENT and not login:
        raise MailRefused(why) from error
    raise MailNotSent(why) from error
