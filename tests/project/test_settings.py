"""Every setting: flag over environment over default, its range, and a sentence when it is wrong."""

from __future__ import annotations

import dataclasses
from email.headerregistry import Address
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from app.common.urls import without_credentials
from app.settings import PREFIX, MailServer, Settings, SettingsError, parse_settings
from tests.support.process import run

KEY, OTHER = "k" * 32, "o" * 32
MOST = 2**31 - 1
CENTURY = 3153600000

# name: (default, what a flag says, what it means, what the environment says, what is refused)
CASES: dict[str, tuple[Any, str, Any, str, tuple[str, ...]]] = {
    "host": (
        ("127.0.0.1",),
        "::,localhost",
        ("::", "localhost"),
        "0.0.0.0",
        ("", " ", ",", "./x.sock", "::,a b\u0000/"),
    ),
    "port": (8888, "0", 0, "65535", ("-1", "65536", "", "http", "80.5", "8_0", "８０", "0x50")),
    "unix_socket": (None, "/run/x.sock", Path("/run/x.sock"), "x.sock", (" ", "/run/")),
    "unix_socket_mode": (0o660, "0666", 0o666, "600", ("", "rw", "66", "1660", "689", "0o660")),
    "base_path": (
        "",
        "/app/",
        "/app",
        "/a/b-c.d",
        ("app", "//evil.example", "/a//b", "/a/../b", "/.", "/a b", "/a?b", "/é", "/a\n"),
    ),
    "reload": (False, "yes", True, "no", ("", "true")),
    "data_dir": (Path("data"), "/srv/x", Path("/srv/x"), "y", ("",)),
    "process_number": (0, "9999", 9999, "7", ("-1", "10000", "one")),
    "store": (
        "sqlite",
        "memory",
        "memory",
        "sqlite",
        (
            "",
            "SQLite",
            "redis",
            "redis://",
            "postgresql://h",
            "redis://:p/w@h",
            "redis://:p?w@h",
            "redis://:p#w@h",
            "redis://:p w@h",
            "redis://h?password=p@w",
        ),
    ),
    "database": (
        "sqlite",
        "postgresql://me:p%40ss@db.example.com:5432/latchkey?sslmode=require",
        "postgresql://me:p%40ss@db.example.com:5432/latchkey?sslmode=require",
        "postgresql:///latchkey?host=%2Frun%2Fpostgresql",
        (
            "",
            "memory",
            "mysql://h",
            "postgres://h/d",
            "postgresql://h",
            "postgresql://h/",
            "postgresql://u:p/w@h/d",
            "postgresql://u:p@w@h/d",
            "postgresql://u:p?w@h/d",
            "postgresql://u:p#w@h/d",
            "postgresql://u:p w@h/d",
            "postgresql+psycopg://h/d",
        ),
    ),
    "secret_keys": ((), f"{KEY}, {OTHER}", (KEY, OTHER), OTHER, (",", "short", f"{KEY},short")),
    "secret_key_file": (None, "k/keys", Path("k/keys"), "/etc/keys", (" ", "keys/")),
    "session_idle_timeout": (86400, "0", 0, "2.5", ("-1", "nan", "inf", "1e999", "", "1h")),
    "session_max_age": (2592000, "0", 0, "2", ("-0.1", "nan", str(CENTURY + 1), "30d")),
    "new_session_timeout": (600, "0", 0, "2.5", ("-1", "nan", "inf", "", "10m")),
    "max_sessions_per_user": (100, "0", 0, "1", ("-1", "1.5", "", "1000001", "many")),
    "expiry_interval": (1, "0.05", 0.05, "3600", ("0", "0.04", "3601", "nan")),
    "on_session_end": ("reconnect", "disconnect", "disconnect", "reconnect", ("", "close")),
    "cookie_name": (
        "latchkey",
        "a.B-c_9",
        "a.B-c_9",
        "sid",
        ("", "a b", "a=b", "a;", "é", "a\n", "x" * 65, "__Host-sid", "__secure-sid"),
    ),
    "cookie_secure": ("auto", "yes", "yes", "no", ("", "YES", "true")),
    "cookie_samesite": ("lax", "none", "none", "strict", ("", "Lax")),
    "cookie_domain": (
        "",
        "example.com",
        "example.com",
        "a.example.com",
        (".example.com", "Example.com", "localhost", "a..b", "a.b;c", "a.b\n", "é.com"),
    ),
    "cookie_partitioned": (False, "yes", True, "no", ("", "true", "1")),
    "allowed_hosts": (
        (),
        "Example.com, *.example.org:443,a_b.,[::1],*",
        ("example.com", "*.example.org", "a_b", "[::1]", "*"),
        "example.com",
        (
            "https://example.com",
            "example.com/",
            "*.",
            "a.*.b",
            "**",
            ".example.com",
            "a..b",
            "a b",
            "é.com",
            "a:http",
            "u@a",
        ),
    ),
    "trusted_origins": (
        (),
        "https://A.example.com, http://[::1]:8080,https://b.example.com:443,https://*.c.de:8443,"
        "capacitor://localhost,tauri://localhost,"
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop,http://*.localhost",
        (
            "https://a.example.com",
            "http://[::1]:8080",
            "https://b.example.com",
            "https://*.c.de:8443",
            "capacitor://localhost",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "http://*.localhost",
        ),
        "https://c.example.com",
        (
            "*",
            "null",
            "example.com",
            "https://",
            "https://a/",
            "https://a?b",
            "https://u@a",
            "https://*.a",
            "https://*",
            "https://a.*.b",
            "https://*a.b",
            "*.example.com",
            "ws://a",
            "file://a",
            "capacitor://",
            "capacitor://localhost/",
            "capacitor://*.a.b",
            "https://a:99999",
            "https://a:",
            "https://é.com",
            "https://a b",
        ),
    ),
    "frame_ancestors": (
        (),
        "https://A.example.com, self,https://*.b.example.com,'self'",
        ("https://a.example.com", "'self'", "https://*.b.example.com", "'self'"),
        "https://c.example.com",
        ("*", "'none'", "none", "example.com", "https://a; script-src *", "http://[::1]:80"),
    ),
    "trusted_proxies": (
        (),
        "127.0.0.1, ::1,10.0.0.0/8",
        (ip_network("127.0.0.1"), ip_network("::1"), ip_network("10.0.0.0/8")),
        "fd00::/8",
        ("localhost", "10.0.0.1/8", "unix:", "10.0.0.0/33", "*"),
    ),
    "hsts_max_age": (31_536_000, "0", 0, "63072000", ("", "-1", "1y", "1.5", "3153600001")),
    "hsts_scope": ("subdomains", "host", "host", "preload", ("", "includeSubDomains", "none")),
    "registration": ("open", "closed", "closed", "open", ("", "yes")),
    "password_min_length": (8, "15", 15, "64", ("", "7", "65", "long")),
    "password_words": ((), "Acme, Road Runner,", ("Acme", "Road Runner"), "Acme", ()),
    "log_format": ("text", "json", "json", "text", ("", "xml", "JSON")),
    "log_level": ("info", "warning", "warning", "debug", ("", "fatal", "INFO")),
    "access_log": (False, "yes", True, "no", ("", "maybe")),
    "tracing": (
        "",
        "http://127.0.0.1:4318",
        "http://127.0.0.1:4318",
        "https://collector.example",
        ("127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://"),
    ),
    "mail": (
        None,
        "smtp://a:b@h:25?from=c@d.org",
        MailServer("h", 25, "by STARTTLS", Address(addr_spec="c@d.org"), "a", "b"),
        "smtps://h?from=c@d.org",
        ("h", "http://h?from=c@d.org", "smtp://h", "smtp://h?from=c", "smtp://h?from=c@d.org&x=1"),
    ),
    "ping_interval": (25, "0.05", 0.05, "3600", ("0", "-1", "nan", "3600.1")),
    "ping_timeout": (20, "0.05", 0.05, "3600", ("0", "inf")),
    "join_timeout": (10, "0.05", 0.05, "3600", ("0", "soon")),
    "drain_time": (5, "0", 0, "3600", ("-1", "3601", "nan")),
    "stop_timeout": (5, "0.05", 0.05, "3600", ("0", "-1", "nan", "3601")),
    "max_message_size": (1_000_000, "1024", 1024, str(MOST), ("0", "1023", str(MOST + 1), "1MB")),
    "max_attachments": (10, "0", 0, "99", ("-1", "100", "ten")),
    "send_buffer": (1_000_000, "1024", 1024, str(MOST), ("1023", str(MOST + 1))),
    "send_timeout": (10, "0.05", 0.05, "3600", ("0", "-1", "nan", "3600.1", "10s")),
    "max_send_backlog": (64_000_000, "1024", 1024, str(MOST), ("0", "1023", str(MOST + 1), "64M")),
    "max_connections_per_session": (50, "0", 0, "1000000", ("-1", "1000001", "1.5")),
    "events_per_second": (200, "0", 0, "1000000", ("-1", "1000001")),
    "handshakes_per_minute": (600, "0", 0, "1000000", ("-1", "1000001")),
    "failed_logins_per_minute": (10, "0", 0, "1000000", ("-1", "1000001")),
    "audit_days": (365, "0", 0, "36500", ("-1", "36501", "1.5", "ever")),
    "public_url": (
        "",
        "https://example.com/",
        "https://example.com",
        "http://a.example.com:8080",
        (
            "example.com",
            "ftp://example.com",
            "https://example.com/app",
            "https://*.a.com",
            "https:",
        ),
    ),
}
#: The flags without which a setting is refused.
NEEDED = {"mail": ["--public-url=https://example.com"]}
REFUSED = [(name, value) for name, case in CASES.items() for value in case[4]]


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def test_every_setting_has_its_cases() -> None:
    """A new setting needs a line in the table above."""
    assert list(CASES) == [field.name for field in dataclasses.fields(Settings)]


@pytest.mark.parametrize("name", CASES)
def test_a_flag_wins_over_the_environment_over_the_default(name: str) -> None:
    """Each source is read, in that order."""
    default, by_flag, meant, by_environment, _ = CASES[name]
    environ = {PREFIX + name.upper(): by_environment}
    needed = NEEDED.get(name, [])
    assert getattr(parse_settings([], {}), name) == default
    assert getattr(parse_settings([*needed, f"{flag(name)}={by_flag}"], {}), name) == meant
    assert getattr(parse_settings([*needed, f"{flag(name)}={by_flag}"], environ), name) == meant
    as_flag = parse_settings([*needed, f"{flag(name)}={by_environment}"], {})
    assert parse_settings(needed, environ) == as_flag


@pytest.mark.express("E4", "O5", "Q2", "Q5")
@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    """The sentence names the flag or the variable, whichever was wrong."""
    with pytest.raises(SettingsError, match=rf"^{flag(name)}.*: it "):
        parse_settings([f"{flag(name)}={value}"], {})
    with pytest.raises(SettingsError, match=rf"^{PREFIX}{name.upper()}.*: it "):
        parse_settings([], {PREFIX + name.upper(): value})


def test_a_range_is_written_in_full() -> None:
    """Nobody should have to read 2.14748e+09."""
    with pytest.raises(SettingsError, match="must be from 1024 to 2147483647"):
        parse_settings(["--send-buffer=1"], {})


@pytest.mark.express("E8")
@pytest.mark.parametrize("attribute", ["--cookie-samesite=none", "--cookie-partitioned"])
def test_what_needs_secure_is_refused_without_it(attribute: str) -> None:
    """Browsers would drop the cookie; with auto or yes it is fine."""
    with pytest.raises(SettingsError, match="needs --cookie-secure yes or auto"):
        parse_settings([attribute, "--cookie-secure=no"], {})
    with pytest.raises(SettingsError, match="needs --cookie-secure yes or auto"):
        parse_settings([attribute], {"LATCHKEY_COOKIE_SECURE": "no"})
    parse_settings([attribute, "--cookie-secure=yes"], {})
    parse_settings([attribute], {})


def test_a_host_in_the_browsers_list_is_kept_for_a_year() -> None:
    """The list takes no host whose header asks for less."""
    with pytest.raises(SettingsError, match="needs --hsts-max-age 31536000 or more"):
        parse_settings(["--hsts-scope=preload", "--hsts-max-age=31535999"], {})
    parse_settings(["--hsts-scope=preload"], {})


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("LATCHKEY_PROT", "did you mean LATCHKEY_PORT?"),
        ("LATCHKEY_SESSION_MAXAGE", "did you mean LATCHKEY_SESSION_MAX_AGE?"),
        ("LATCHKEY_XYZZY", "see python -m app --help"),
        ("LATCHKEY_port", "is no setting"),
    ],
)
def test_an_unknown_variable_is_refused(name: str, remedy: str) -> None:
    """A misspelt one would otherwise be ignored in silence; its value is not shown."""
    with pytest.raises(SettingsError) as caught:
        parse_settings([], {name: "hunter2", "PATH": "/bin", "LATCHKEYS": "mine"})
    assert remedy in str(caught.value)
    assert name in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--secret-key=hunter2"], "--secret-key is no setting; did you mean --secret-keys?"),
        (["--secret-key", "hunter2"], "--secret-key is no setting; did you mean --secret-keys?"),
        (["--por=hunter2"], "--por is no setting; did you mean --port?"),
        (["--xyzzy=hunter2"], "--xyzzy is no setting; see python -m app --help"),
        (["--port=1", "hunter2"], "an argument belongs to no flag"),
        (["--secret-keys", KEY, "hunter2"], "an argument belongs to no flag"),
    ],
)
def test_an_unknown_flag_is_refused_without_its_value(arguments: list[str], sentence: str) -> None:
    """What follows a misspelt flag may be a secret; no flag may be shortened."""
    with pytest.raises(SettingsError) as caught:
        parse_settings(arguments, {})
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret_keys", f"{KEY},hunter2"),
        ("store", "redis://:hunter2@host"),
        ("database", "mysql://me:hunter2@host"),
        ("database", "postgresql://me:hunter2/@host/d"),
    ],
)
def test_a_secret_is_never_shown(name: str, value: str) -> None:
    """Neither in the sentence about it nor when settings are printed."""
    for arguments, environ in (
        ([f"{flag(name)}={value}"], {}),
        ([], {PREFIX + name.upper(): value}),
    ):
        with pytest.raises(SettingsError) as caught:
            parse_settings(arguments, environ)
        assert "hunter2" not in str(caught.value)
    assert KEY not in repr(Settings(secret_keys=(KEY,)))


@pytest.mark.parametrize(
    ("name", "url", "where"),
    [
        ("store", "sqlite", "sqlite"),
        ("store", "redis://me:s:ecr@t@host:1/2", "redis://host:1/2"),
        ("store", "rediss://:secret@[::1]/2?password=secret", "rediss://[::1]/2"),
        ("store", "redis+sentinel://:secret@a:1,b:2/main/3", "redis+sentinel://a:1,b:2/main/3"),
        ("database", "postgresql://me:secret@h:1/d?password=secret", "postgresql://h:1/d"),
        ("database", "postgresql:///d", "postgresql:///d"),
    ],
)
def test_an_address_is_shown_without_its_password(name: str, url: str, where: str) -> None:
    """To be printed and logged, it is what stands between the login and the parameters."""
    settings = parse_settings([f"{flag(name)}={url}", f"--secret-keys={KEY}"], {})
    assert without_credentials(getattr(settings, name)) == where


async def test_help_lists_every_setting_with_its_default() -> None:
    """From the one place where they are declared, and exits 0."""
    code, out, _ = await run("--help")
    assert code == 0
    text = " ".join(out.split())
    for field in dataclasses.fields(Settings):
        # argparse breaks lines at spaces and hyphens
        meaning = field.metadata["meaning"].replace("%%", "%")
        assert flag(field.name) in text
        assert meaning.replace(" ", "").replace("-", "") in text.replace(" ", "").replace("-", "")
        assert f"(default: {field.metadata['default'] or 'none'})".replace(" ", "") in text.replace(
            " ", ""
        )
