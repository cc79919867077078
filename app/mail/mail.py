"""Mails to users: `services.mail`."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlencode, urlsplit

from tornado.template import BaseLoader

from app.mail.message import make_message
from app.mail.outbox import Outbox
from app.mail.smtp import Smtp
from app.settings import Settings

_SUBJECT = "Subject: "


class Mail:
    """Sends mails by the server of --mail, in the background; without one it sends none."""

    def __init__(self, settings: Settings, templates: BaseLoader, counts: Counter[str]) -> None:
        """`templates` loads the texts, such as mail/reset.txt.

        `counts` gets the number of mails by result: sent, tried again, refused, given up, dropped.
        """
        self._settings = settings
        self._templates = templates
        server = settings.mail
        self._sender = server.sender if server else None
        self._outbox = Outbox(Smtp(server).send, counts) if server else None

    @property
    def enabled(self) -> bool:
        """Whether there is a server of --mail."""
        return self._outbox is not None

    @property
    def waiting(self) -> int:
        """The number of mails that wait or are being sent."""
        return 0 if self._outbox is None else len(self._outbox)

    def send(self, to: str, subject: str, text: str) -> bool:
        """Send a plain mail in the background; return False if it is dropped at once.

        `to` is an address of `clean_address`. The call never waits.
        """
        if self._outbox is None or self._sender is None:
            return False
        return self._outbox.add(make_message(self._sender, to, subject, text))

    def send_template(self, to: str, template: str, /, **values: Any) -> bool:
        """Send the mail of a template, such as "reset": its first line is the subject.

        Templates have `url`, which makes links of the site, and `site`, its host, besides.
        """
        if self._outbox is None:
            return False
        made = self._templates.load(f"mail/{template}.txt")
        site = urlsplit(self._link("/")).netloc
        filled = made.generate(url=self._link, site=site, **values).decode()
        first, _, text = filled.lstrip().partition("\n")
        if not first.startswith(_SUBJECT):
            raise ValueError(f"mail/{template}.txt must begin with a line “{_SUBJECT}…”")
        return self.send(to, first.removeprefix(_SUBJECT), text.strip() + "\n")

    def _link(self, path: str, **query: str) -> str:
        """Return the address of a page; never with the Host of a request, which may be forged."""
        return self._settings.public_link(path) + (f"?{urlencode(query)}" if query else "")

    async def stop(self, seconds: float) -> None:
        """Send what waits, for this time at most."""
        if self._outbox is not None:
            await self._outbox.stop(seconds)
