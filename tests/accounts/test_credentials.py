"""Names and passwords: their rules, and the hashes of passwords."""

from __future__ import annotations

import stat
import time
from typing import Any

import argon2
import pytest

from app.accounts import (
    InvalidAccount,
    NameTaken,
    account_key,
)
from tests.support.accounts import opened
from tests.support.forms import PASSWORD
from tests.support.postgres import Place


@pytest.mark.parametrize("spelling", ["Zoë", "ZOË", "zoe\u0308", "Ｚｏë", " zoë "])
async def test_one_account_answers_to_every_spelling_of_its_name(
    place: Place, spelling: str
) -> None:
    """Case, width, composition and outer spaces do not matter, and the first spelling is shown."""
    async with opened(place) as accounts:
        assert await accounts.register("Zoë", PASSWORD) == "Zoë"
        assert await accounts.verify(spelling, PASSWORD) == "Zoë"


@pytest.mark.parametrize("spelling", ["STRASSE", "straße", "Straße"])
async def test_another_spelling_of_a_taken_name_is_taken(place: Place, spelling: str) -> None:
    """The key of a name folds case as Unicode does, so ß and SS are one."""
    async with opened(place) as accounts:
        await accounts.register("Strasse", PASSWORD)
        with pytest.raises(NameTaken, match="taken"):
            await accounts.register(spelling, PASSWORD)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "1 to 64"),
        ("x" * 65, "1 to 64"),
        ("x" * 1_000_000, "1 to 64"),
        ("\ufdfa" * 10, "1 to 64"),
        ("a\ud800", "1 to 64"),
        (" ann", "space"),
        ("ann\u00a0", "space"),
        ("   ", "space"),
        ("an\x00n", "control"),
        ("an\nn", "control"),
        ("ann\u202e", "invisible"),
        ("an\u200bn", "invisible"),
    ],
)
async def test_a_name_that_cannot_be_had_is_refused_with_a_sentence(
    place: Place, name: str, said: str
) -> None:
    """Too long, too short, controls, invisible letters, outer spaces: each says what is wrong."""
    async with opened(place) as accounts:
        with pytest.raises(InvalidAccount, match=said):
            await accounts.register(name, PASSWORD)
        assert await accounts.verify(name, PASSWORD) is None
    assert place.stored() == []


@pytest.mark.parametrize("name", ["a", "x" * 64, "Ann Lee", "安", "o'hara; --", "<b>", "🔑"])
async def test_a_name_may_be_in_any_script(place: Place, name: str) -> None:
    """Up to 64 characters of anything that can be seen, one of which may be all."""
    async with opened(place) as accounts:
        assert await accounts.register(name, PASSWORD) == name
        assert await accounts.verify(name, PASSWORD) == name


@pytest.mark.asvs("6.2.1", "6.2.9")
@pytest.mark.parametrize("password", ["", "7 chars", "x" * 129, "x" * 1_000_000, "12345678\ud800"])
async def test_a_password_of_the_wrong_length_is_refused(place: Place, password: str) -> None:
    """Fewer than 8 characters, more than 128, and what is no text at all."""
    async with opened(place) as accounts:
        with pytest.raises(InvalidAccount, match="8 to 128"):
            await accounts.register("ann", password)
        await accounts.register("ann", PASSWORD)
        assert await accounts.verify("ann", password) is None


@pytest.mark.asvs("6.2.5", "6.2.8")
@pytest.mark.parametrize(
    "password", ["  \t lamp ", "lampsteapot", "lamp ton key " * 9, "пароль🔑!", " a\x01b\tc d "]
)
async def test_a_password_may_be_of_any_characters(place: Place, password: str) -> None:
    """From 8 characters to 128, no composition rules, nothing trimmed or cut."""
    async with opened(place) as accounts:
        await accounts.register("ann", password)
        assert await accounts.verify("ann", password) == "ann"
        assert await accounts.verify("ann", password[:-1] + "?") is None
        assert await accounts.verify("ann", password + " ") is None


@pytest.mark.asvs("6.2.8")
async def test_a_password_is_the_same_however_the_keyboard_composes_it(place: Place) -> None:
    """NFKC, as NIST SP 800-63B asks: é in one code point and in two."""
    async with opened(place) as accounts:
        await accounts.register("ann", "caf\u00e9 au lait")
        assert await accounts.verify("ann", "cafe\u0301 au lait") == "ann"


async def test_a_long_name_or_password_costs_nothing(place: Place) -> None:
    """Unicode's normalising takes the square of such a length: 7 s of the interpreter's lock."""
    marks = "a" + "\u0301\u0316" * 20_000
    async with opened(place) as accounts:
        began = time.monotonic()
        for name, password in ((marks, PASSWORD), ("ann", marks)):
            with pytest.raises(InvalidAccount):
                await accounts.register(name, password)
            assert await accounts.verify(name, password) is None
        assert account_key(marks) == ""
        assert time.monotonic() - began < 3


def test_an_invalid_name_has_no_key() -> None:
    """Limits count by this key, so that it must not grow with what a client sends."""
    assert account_key("x" * 1_000_000) == ""
    assert account_key("\ud800") == ""
    assert account_key(" Ann  Lee") == "ann lee"


@pytest.mark.real_hashes
async def test_a_password_is_stored_as_argon2id_of_owasps_strength(place: Place) -> None:
    """At least 19 MiB, two passes, a salt of its own; a file is for its owner only."""
    async with opened(place) as accounts:
        await accounts.register("ann", PASSWORD)
        await accounts.register("bob", PASSWORD)
        files = list(place.data_dir.iterdir())
        modes = {stat.S_IMODE(path.stat().st_mode) for path in files}
    hashes = [row[2] for row in place.stored()]
    for one in hashes:
        parameters = argon2.extract_parameters(one)
        assert parameters.type is argon2.Type.ID
        assert parameters.memory_cost >= 19 * 1024
        assert parameters.time_cost >= 2
        assert parameters.salt_len >= 16
    assert len(set(hashes)) == 2
    if place.database == "sqlite":
        assert "accounts.sqlite3" in [path.name for path in files]
        assert modes == {0o600}
    else:
        assert files == []


@pytest.mark.asvs("6.3.8")
@pytest.mark.attack("A13")
async def test_an_unknown_name_costs_what_a_wrong_password_does(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash of the same parameters each, whatever the name and the password look like."""
    asked: list[Any] = []
    verify = argon2.PasswordHasher.verify

    def counted(self: Any, stored: Any, password: Any) -> Any:
        asked.append(argon2.extract_parameters(stored))
        return verify(self, stored, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    async with opened(place) as accounts:
        await accounts.register("ann", PASSWORD)
        for name, password in (
            ("ann", "wrong wrong wrong"),
            ("nobody", PASSWORD),
            ("nobody", "wrong wrong wrong"),
            ("ann", "short"),
            ("nobody", "short"),
            ("ann", "x" * 500),
            ("", ""),
            ("x" * 100_000, PASSWORD),
            ("\ud800", "\ud800"),
        ):
            asked.clear()
            assert await accounts.verify(name, password) is None
            assert len(asked) == 1, (name[:20], password[:20])
            assert asked[0] == argon2.extract_parameters(place.stored()[0][2])


@pytest.mark.real_hashes
async def test_a_sign_in_renews_a_hash_of_weaker_parameters(place: Place) -> None:
    """The right password brings the hash up to date; a wrong one leaves it as it was."""
    async with opened(place) as accounts:
        today = accounts._table._passwords._hasher
        accounts._table._passwords._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64)
        await accounts.register("ann", PASSWORD)
        accounts._table._passwords._hasher = today
        weak = place.stored()[0][2]
        assert await accounts.verify("ann", "wrong wrong wrong") is None
        assert place.stored()[0][2] == weak
        assert await accounts.verify("ann", PASSWORD) == "ann"
        renewed = place.stored()[0][2]
        assert argon2.extract_parameters(renewed).memory_cost == today.memory_cost
        assert await accounts.verify("ann", PASSWORD) == "ann"
        assert place.stored()[0][2] == renewed


@pytest.mark.parametrize("password", [PASSWORD, "wrong wrong wrong"])
async def test_an_invalid_hash_refuses_every_password(place: Place, password: str) -> None:
    """A hash that is none of argon2's is a wrong password and a line in the log."""
    async with opened(place) as accounts:
        await accounts.register("ann", PASSWORD)
        place.run("UPDATE accounts SET password_hash = 'x'")
        assert await accounts.verify("ann", password) is None
