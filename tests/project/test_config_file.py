"""--config: settings from a TOML file, under flags and environment."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from app.settings import PREFIX, Settings, SettingsError, parse_settings, setting, values
from tests.project.test_settings import CASES, NEEDED
from tests.support.process import run

KEY = "k" * 32


@dataclasses.dataclass(frozen=True)
class ChatSettings:
    """What a module of a fork declares."""

    history: int = setting(values.integer(0, 1000), "50", "messages that are kept")
    token: str = setting(values.cookie_name, "x", "a secret", secret=True)


def parse(
    tmp_path: Path, text: str, *flags: str, encoding: str = "utf-8", **environ: str
) -> Settings:
    path = tmp_path / "latchkey.toml"
    path.write_text(text, encoding=encoding)
    return parse_settings([f"--config={path}", *flags], environ, {"chat": ChatSettings})


def toml(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize("name", CASES)
def test_every_setting_may_be_in_the_file(tmp_path: Path, name: str) -> None:
    """Numbers as numbers, yes and no as true and false, the rest as strings; flags win."""
    default, by_flag, meant, by_environment, _ = CASES[name]
    if isinstance(default, bool):
        written = {"yes": "true", "no": "false"}[by_flag]
    elif isinstance(default, (int, float)) and name != "unix_socket_mode":
        written = by_flag
    else:
        written = toml(by_flag)
    needed = NEEDED.get(name, [])
    for key in (name, name.replace("_", "-")):
        assert getattr(parse(tmp_path, f"{key} = {written}", *needed), name) == meant
    path = tmp_path / "latchkey.toml"
    variables = {PREFIX + name.upper(): by_environment, PREFIX + "CONFIG": str(path)}
    assert parse_settings(needed, {PREFIX + "CONFIG": str(path)}) == parse_settings(
        [*needed, f"--{name.replace('_', '-')}={by_flag}"], {}
    )
    assert parse_settings(needed, variables) == parse_settings(
        needed, {PREFIX + name.upper(): by_environment}
    )


def test_lists_and_tables(tmp_path: Path) -> None:
    """A list for what takes commas, and a table for the settings of a module."""
    settings = parse(
        tmp_path,
        'host = ["127.0.0.1", "::1"]\nallowed-hosts = "a.de,b.de"\n[chat]\nhistory = 7\n',
    )
    assert settings.host == ("127.0.0.1", "::1")
    assert settings.allowed_hosts == ("a.de", "b.de")
    assert settings.of("chat").history == 7
    assert parse(tmp_path, "[chat]\nhistory = 7", "--chat-history=8").of("chat").history == 8
    assert parse(tmp_path, "", LATCHKEY_CHAT_HISTORY="9").of("chat").history == 9


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\n\nprot = 1", "line 3: prot is no setting; did you mean port?"),
        ("session_idle_timout = 1", "line 1: session-idle-timout is no setting; did you mean "),
        ("[chat]\n# x\nhistroy = 1", "line 3: chat-histroy is no setting; did you mean chat-hist"),
        ("[caht]\nhistory = 1", "line 2: caht-history is no setting; did you mean chat-history?"),
        ("config = 'x'", "line 1: config is no setting"),
        ("port = '8888'", "line 1: port: it takes a whole number, not a string"),
        ("port = 8888.0", "line 1: port: it takes a whole number, not a number"),
        ("port = true", "line 1: port: it takes a whole number, not true or false"),
        ("ping-interval = '1'", "line 1: ping-interval: it takes a number, not a string"),
        ("host = 1", "line 1: host: it takes a list of strings, or a string with commas, not a n"),
        ("host = [1]", "line 1: host: it takes strings only between [ and ]"),
        ("host = []", "line 1: host '': it must be an address such as 127.0.0.1"),
        ("store = ['sqlite']", "line 1: store: it takes a string, not a list"),
        ("data-dir = 1979-05-27", "line 1: data-dir: it takes a string, not a date or time"),
        ("cookie-partitioned = 'yes'", "line 1: cookie-partitioned: it takes true or false, not a"),
        ("cookie-secure = true", "line 1: cookie-secure: it takes a string, not true or false"),
        ("unix-socket-mode = 0o660", 'line 1: unix-socket-mode: it takes a string such as "660"'),
        ("port = 65536", "line 1: port '65536': it must be from 0 to 65535"),
        ("port = 1\nport = 2", "it is not TOML"),
        ("port 8888", "it is not TOML (Expected '=' after a key"),
        ("ping-interval = 1\nping_interval = 2", "line 2: ping-interval is there twice"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path: Path, text: str, sentence: str) -> None:
    """The sentence says what to write."""
    with pytest.raises(SettingsError) as caught:
        parse(tmp_path, text)
    assert sentence in str(caught.value)
    assert "latchkey.toml" in str(caught.value)


def test_a_secret_of_the_file_is_never_shown(tmp_path: Path) -> None:
    """Neither a wrong one nor one with a misspelt name."""
    for text in (
        'secret-keys = "hunter2"',
        'secret-key = "hunter2"',
        "store = 'redis://:hunter2@'",
        "[chat]\ntoken = 'hunter2 '",
        "secret-keys = [['hunter2']]",
    ):
        with pytest.raises(SettingsError) as caught:
            parse(tmp_path, text)
        assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """It is missing, a folder, or not UTF-8."""
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(SettingsError, match="it cannot be read"):
            parse_settings([f"--config={path}"], {})
    with pytest.raises(SettingsError, match="it is not UTF-8"):
        parse(tmp_path, "# é", encoding="latin-1")


def test_other_commands_leave_the_tables_of_modules_alone(tmp_path: Path) -> None:
    """They do not know the modules, only the names of their variables."""
    path = tmp_path / "latchkey.toml"
    path.write_text("[chat]\nhistory = 7\n")
    arguments = [f"--config={path}"]
    assert parse_settings(arguments, {}, others=lambda: ["LATCHKEY_CHAT_HISTORY"])
    with pytest.raises(SettingsError, match="chat-history is no setting"):
        parse_settings(arguments, {})


async def test_the_program_reads_the_file(tmp_path: Path) -> None:
    """A wrong line stops its start with exit code 2."""
    path = tmp_path / "latchkey.toml"
    path.write_text("prot = 1\n")
    code, _, wrong = await run(f"--config={path}")
    assert (code, wrong) == (
        2,
        f"latchkey: {path}, line 1: prot is no setting; did you mean port?\n",
    )
