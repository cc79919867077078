"""Settings that modules declare: flags, variables, --help, checks, and how handlers read them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, assert_type

import pytest

from app.extensions import InvalidModule, load_extensions, own_records
from app.settings import Settings, SettingsError, parse_settings, setting, values
from tests.support.fork import fork
from tests.support.process import run_copy
from tests.support.site import serve


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatSettings:
    history: int = setting(values.integer(0, 1000), "50", "messages that a new client gets")
    greeting: str = setting(values.text, "", "what a new client is told")
    loud: bool = setting(values.yes_no, "no", "whether greetings are in capitals: yes or no")
    token: str = setting(values.text, "", "token of the bridge", secret=True)

    def __post_init__(self) -> None:
        if self.loud and not self.greeting:
            raise SettingsError("--chat-loud yes needs a --chat-greeting")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OidcSettings:
    issuer: str = setting(values.url("https"), None, "URL of the issuer")


OWN = {"chat": ChatSettings}


def parse(*arguments: str, **environ: str) -> Any:
    return parse_settings(arguments, environ, OWN).of(ChatSettings)


def test_a_flag_wins_over_the_environment_over_the_default() -> None:
    """As for the settings of the program."""
    assert parse() == ChatSettings(history=50, greeting="", loud=False)
    assert parse(LATCHKEY_CHAT_HISTORY="3").history == 3
    assert parse("--chat-history=2", LATCHKEY_CHAT_HISTORY="3").history == 2
    assert parse("--chat-history", "1", "--chat-loud", "--chat-greeting=hi").loud is True


@pytest.mark.parametrize(
    ("arguments", "environ", "sentence"),
    [
        (["--chat-history=many"], {}, "--chat-history 'many': it takes a whole number"),
        ([], {"LATCHKEY_CHAT_HISTORY": "-1"}, "LATCHKEY_CHAT_HISTORY '-1': it must be from 0 to"),
        (["--chat-histori=1"], {}, "did you mean --chat-history?"),
        ([], {"LATCHKEY_CHAT_HISTROY": "1"}, "did you mean LATCHKEY_CHAT_HISTORY?"),
        (["--chat-loud=yes"], {}, "--chat-loud yes needs a --chat-greeting"),
        ([], {"LATCHKEY_OIDC_ISSUER": "https://id.example.com"}, "LATCHKEY_OIDC_ISSUER is no"),
    ],
)
def test_a_wrong_one_is_refused_by_name(
    arguments: list[str], environ: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(arguments, environ, OWN)
    assert sentence in str(caught.value)


def test_one_without_a_default_must_be_given() -> None:
    """The sentence has its meaning, its flag and its variable."""
    own = {"oidc": OidcSettings}
    with pytest.raises(SettingsError) as caught:
        parse_settings([], {}, own)
    assert str(caught.value) == (
        "--oidc-issuer is missing: URL of the issuer; "
        "give the flag, or LATCHKEY_OIDC_ISSUER in the environment"
    )
    given = {"LATCHKEY_OIDC_ISSUER": "https://id.example.com"}
    assert parse_settings([], given, own).of(OidcSettings).issuer == "https://id.example.com"


def test_a_secret_is_never_shown() -> None:
    """Neither in messages nor when the settings are printed."""
    with pytest.raises(SettingsError) as caught:
        parse_settings(["--chat-token=a", "hunter2"], {}, OWN)
    assert "hunter2" not in str(caught.value)
    settings = parse_settings(["--chat-token=hunter2"], {}, OWN)
    assert "hunter2" not in repr(settings) + repr(settings.of(ChatSettings))


async def test_handlers_read_them_by_class_or_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test gives them to Settings as `own`, or has the defaults."""
    *_, name = fork(monkeypatch, settings=ChatSettings)
    group = name.rpartition(".")[2]
    async with serve(tmp_path / "a", modules=(name,)) as site:
        assert site.services.settings.of(ChatSettings).history == 50
        assert site.services.settings.of(group).history == 50
        with pytest.raises(LookupError, match="declares the settings OidcSettings"):
            site.services.settings.of(OidcSettings)
        with pytest.raises(LookupError, match="declares the settings oidc"):
            site.services.settings.of("oidc")
    own = {group: ChatSettings(history=7)}
    async with serve(tmp_path / "b", modules=(name,), own=own) as site:
        assert site.services.settings.of(ChatSettings).history == 7
        changed = dataclasses.replace(site.services.settings, port=1)
        assert changed.of(ChatSettings).history == 7
    with pytest.raises(ValueError, match="no module chat declares ChatSettings"):
        async with serve(tmp_path / "c", modules=(name,), own={"chat": ChatSettings()}):
            pass


@dataclasses.dataclass(frozen=True)
class NoSetting:
    size: int = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Taken:
    max_age: int = setting(values.integer(0, 9), "1", "seconds")


def modules(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[str]:
    """Make modules of these names with these settings; return their dotted names."""
    names = []
    for name, record in settings.items():
        *_, made = fork(monkeypatch, settings=record)
        monkeypatch.setitem(sys.modules, f"tests.{name}", sys.modules[made])
        names.append(f"tests.{name}")
    return names


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"chat": 5}, "chat: `settings` is 5; assign a dataclass"),
        ({"chat": ChatSettings()}, "chat: `settings` is ChatSettings"),
        ({"chat": NoSetting}, "chat: the field size of NoSetting is no setting; write it as"),
        (
            {"session": Taken},
            "session: its setting max_age would be --session-max-age, which the program has",
        ),
        ({"chat": ChatSettings, "talk": ChatSettings}, "talk: module chat has the same settings"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidModule) as caught:
        load_extensions(modules(monkeypatch, **settings))
    assert sentence in str(caught.value)


def test_settings_of_two_modules_of_one_name_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of shop.orders and bar.orders."""
    first, second = modules(monkeypatch, orders=ChatSettings, other=OidcSettings)
    monkeypatch.setitem(sys.modules, "tests.shop.Orders", sys.modules[second])
    with pytest.raises(InvalidModule, match="another module has settings of the name orders"):
        load_extensions([first, "tests.shop.Orders"])
    assert list(own_records(load_extensions([first, second]))) == ["orders", "other"]


# -- the program --

PROGRAM = """
import sys

from app.program import run
from handlers.session import SessionData

if __name__ == "__main__":
    sys.exit(run(("product.oidc",), SessionData))
"""
MODULE = """
import dataclasses
import sys

from app.settings import setting, values


@dataclasses.dataclass(frozen=True, kw_only=True)
class OidcSettings:
    issuer: str = setting(values.url("https"), None, "URL of the issuer")


settings = OidcSettings


async def on_start(services):
    print("issuer", services.settings.of(OidcSettings).issuer, services.settings.of("oidc").issuer)
    raise SystemExit(0)
"""


async def program(folder: Path, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run the product; return its exit code, its output and its errors."""
    (folder / "product").mkdir(exist_ok=True)
    (folder / "product" / "__init__.py").write_text("")
    (folder / "product" / "__main__.py").write_text(PROGRAM)
    (folder / "product" / "oidc.py").write_text(MODULE)
    environ = {"COLUMNS": "200", **environ}
    return await run_copy(folder, *arguments, program="product", **environ)


async def test_the_program_reads_them_and_shows_them_in_its_help(tmp_path: Path) -> None:
    """In a group of their own; a missing one is refused with code 2."""
    _, out, _ = await program(tmp_path, "--help")
    assert "settings of oidc:\n" in out
    assert "--oidc-issuer VALUE" in out
    assert "URL of the issuer (required)" in out
    code, out, error = await program(tmp_path)
    assert (code, out) == (2, "")
    assert error.startswith("latchkey: --oidc-issuer is missing")
    issuer = {"LATCHKEY_OIDC_ISSUER": "https://id.example.com"}
    _, out, _ = await program(tmp_path, "--port=0", **issuer)
    assert out == "issuer https://id.example.com https://id.example.com\n"


async def test_commands_accept_the_variables_of_modules(tmp_path: Path) -> None:
    """A backup runs in the environment of the server; a misspelt variable is refused there too."""
    issuer = {"LATCHKEY_OIDC_ISSUER": "https://id.example.com"}
    _, _, error = await program(tmp_path, "backup", str(tmp_path / "copy"), **issuer)
    assert "is no setting" not in error
    wrong = {"LATCHKEY_OIDC_ISSEUR": "x"}
    code, _, error = await program(tmp_path, "backup", str(tmp_path / "copy"), **wrong)
    assert code == 2
    assert "LATCHKEY_OIDC_ISSEUR is no setting" in error


def test_type_checkers_know_them() -> None:
    """mypy and pyright read this file; mypy reports an ignored error that is none."""
    settings = Settings(own={"chat": ChatSettings()})
    assert_type(settings.of(ChatSettings).history, int)
    with pytest.raises(AttributeError):
        settings.of(ChatSettings).histroy  # type: ignore[attr-defined]  # pyright: ignore  # noqa: B018
