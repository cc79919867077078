"""The settings --mail and --public-url, and what --check says of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings, SettingsError
from app.settings.mail import mail_server as read
from tests.support.mail_server import mail_server
from tests.support.ports import free_port
from tests.support.process import run


def test_a_url_names_server_user_password_and_sender() -> None:
    server = read("smtp://ann%40x:p%40ss%2F@mail.example.org:2525?from=Site%20<a@example.org>")
    assert server is not None
    assert (server.host, server.port, server.tls) == ("mail.example.org", 2525, "by STARTTLS")
    assert (server.user, server.password) == ("ann@x", "p@ss/")
    assert str(server.sender) == "Site <a@example.org>"
    assert "p@ss/" not in f"{server!r} {server}"


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtp://h?from=a@b.org", 587, "by STARTTLS"),
        ("smtps://h?from=a@b.org", 465, "from the start"),
        ("smtp://h?from=a@b.org&starttls=no", 587, "none"),
    ],
)
def test_tls_and_ports_have_defaults(url: str, port: int, tls: str) -> None:
    server = read(url)
    assert server is not None
    assert (server.port, server.tls) == (port, tls)


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.org",
        "http://h?from=a@b.org",
        "smtp://h",
        "smtp://h?from=ann",
        "smtp://h?from=a@b.org%0d%0aBcc:%20c@d.org",
        "smtp://h?from=a@b.org&starttls=maybe",
        "smtp://h?from=a@b.org&other=1",
        "smtp://h:0x?from=a@b.org",
        "smtp://user:secret@h?from=a@b.org&starttls=no",
    ],
)
def test_a_wrong_url_is_refused_without_the_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(url)
    assert "secret" not in str(caught.value)


def test_mail_needs_the_address_of_the_site() -> None:
    """Links in mails are never made from the Host header, which anybody can forge."""
    server = read("smtps://h?from=a@b.org")
    with pytest.raises(SettingsError, match="--mail needs --public-url"):
        Settings(mail=server)
    assert Settings(mail=server, allowed_hosts=("example.org",)).mail is server


async def test_check_connects_to_the_server(tmp_path: Path) -> None:
    """It says so if the server is away; the password is in no line."""
    flags = (f"--data-dir={tmp_path}", "--port=0", "--public-url=https://example.org", "--check")
    async with mail_server() as server:
        code, said, _ = await run(f"--mail={server.url}", *flags)
        assert f"ok      mail      127.0.0.1 port {server.port} answers" in said
        assert code == 0
    away = f"smtps://user:hunter2@127.0.0.1:{free_port()}?from=a@b.org"
    code, said, error = await run(f"--mail={away}", *flags)
    assert "failed  mail      127.0.0.1 port" in said
    assert code == 1
    assert "hunter2" not in said + error
