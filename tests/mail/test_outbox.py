"""Mails on their way: a server that is slow, away or refuses."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from email.headerregistry import Address

import pytest

from app.mail.message import make_message
from app.mail.outbox import Outbox
from app.mail.smtp import Smtp
from app.settings.mail import mail_server as read
from tests.support.mail_server import MailServer, mail_server, text
from tests.support.ports import free_port
from tests.support.waiting import until

SENDER = Address("Site", addr_spec="no-reply@example.org")


def outbox(url: str, counts: Counter[str], *delays: float) -> Outbox:
    """Return an outbox for this server, which tries again after these seconds."""
    server = read(url)
    assert server is not None
    return Outbox(Smtp(server).send, counts, delays=delays)


async def sent(server: MailServer, subject: str, body: str) -> MailServer:
    """Send one mail and wait for it."""
    box = outbox(server.url, Counter())
    box.add(make_message(SENDER, "ann@example.com", subject, body))
    await server.mail()
    await box.stop(1)
    return server


async def test_a_mail_arrives_as_it_was_written() -> None:
    """With letters of any script, and long lines."""
    body = "Grüße, Zoë 日本\n" + "x" * 2000 + "\n"
    async with mail_server() as server:
        (got,) = (await sent(server, "Grüße an Zoë", body)).mails
        assert (got["Subject"], text(got)) == ("Grüße an Zoë", body)
        assert got["From"] == "Site <no-reply@example.org>"
        assert got["Auto-Submitted"] == "auto-generated"


async def test_no_subject_can_add_a_header() -> None:
    async with mail_server() as server:
        (got,) = (await sent(server, "Hi\r\nBcc: bob@example.com\n\nspam", "Text\n")).mails
        assert got["Subject"] == "Hi Bcc: bob@example.com spam"
        assert got["Bcc"] is None


async def test_a_mail_that_is_not_taken_now_is_sent_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with mail_server() as server:
        server.answers += ["451 try again", "421 busy"]
        counts: Counter[str] = Counter()
        box = outbox(server.url, counts, 0.01, 0.01, 0.01)
        box.add(make_message(SENDER, "ann@example.com", "Hello", "Text\n"))
        await server.mail()
        await until(lambda: len(box) == 0)
        assert counts == {"tried again": 2, "sent": 1}
        await box.stop(1)
    assert "the mail server did not take a mail" in caplog.text
    assert "ann@" not in caplog.text


async def test_a_refused_mail_is_not_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    async with mail_server() as server:
        server.answers += ["550 no such mailbox"]
        counts: Counter[str] = Counter()
        box = outbox(server.url, counts, 0.01)
        box.add(make_message(SENDER, "ann@example.com", "Hello", "Text\n"))
        await until(lambda: len(box) == 0)
        assert (counts, server.tries) == ({"refused": 1}, 1)
        await box.stop(1)
    assert "the mail server refuses a mail domain=example.com" in caplog.text
    assert "ann@" not in caplog.text


async def test_a_server_that_is_away_is_asked_a_few_times(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counts: Counter[str] = Counter()
    box = outbox(f"smtp://127.0.0.1:{free_port()}?from=a@b.org&starttls=no", counts, 0.01, 0.01)
    box.add(make_message(SENDER, "ann@example.com", "Hello", "Text\n"))
    await until(lambda: len(box) == 0)
    assert counts == {"tried again": 3, "given up": 1}
    assert "a mail was given up, the mail server did not take it" in caplog.text


async def test_mails_beyond_a_bound_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow server costs memory up to the bound, and the call never waits."""
    monkeypatch.setattr("app.mail.outbox._MAX_WAITING", 3)
    async with mail_server() as server:
        server.hold = asyncio.Event()
        counts: Counter[str] = Counter()
        box = outbox(server.url, counts)
        taken = [
            box.add(make_message(SENDER, "ann@example.com", str(number), "Text\n"))
            for number in range(5)
        ]
        assert taken == [True, True, True, False, False]
        server.hold.set()
        await until(lambda: len(server.mails) == 3)
        assert counts["dropped"] == 2
        await box.stop(1)


async def test_a_stop_sends_what_waits_for_its_next_try() -> None:
    async with mail_server() as server:
        server.answers += ["451 try again"]
        counts: Counter[str] = Counter()
        box = outbox(server.url, counts, 3600.0)
        box.add(make_message(SENDER, "ann@example.com", "Hello", "Text\n"))
        await until(lambda: counts["tried again"] == 1)
        await box.stop(5)
        assert counts["sent"] == 1


async def test_a_stop_does_not_wait_for_a_server_that_hangs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    async with mail_server() as server:
        server.hold = asyncio.Event()
        box = outbox(server.url, Counter())
        box.add(make_message(SENDER, "ann@example.com", "Hello", "Text\n"))
        await until(lambda: server.tries == 1)
        await box.stop(0.05)
    assert "mails are lost, because the process stops number=1" in caplog.text
