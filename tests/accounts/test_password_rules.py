"""Which new passwords are refused, and what the user is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from zxcvbn_rs_py import zxcvbn

from app.accounts import InvalidAccount, PasswordRules, WeakPassword
from app.settings import Settings
from tests.support.accounts import opened
from tests.support.devices import NEW
from tests.support.forms import PASSWORD, ask, each_kind, send
from tests.support.postgres import Place
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

# the most used passwords that have 8 characters, from published lists
MOST_USED = (
    *("password", "12345678", "123456789", "1234567890", "baseball", "football", "jennifer"),
    *("superman", "iloveyou", "trustno1", "sunshine", "princess", "starwars", "whatever"),
    *("computer", "michelle", "corvette", "mercedes", "maverick", "password1", "qwertyuiop"),
    *("1qaz2wsx", "1q2w3e4r", "welcome1", "internet", "football1", "liverpool", "jonathan"),
)


def rules(**settings: object) -> PasswordRules:
    return PasswordRules(Settings(**settings))  # type: ignore[arg-type]


@pytest.mark.asvs("6.2.4", "6.2.12")
@pytest.mark.parametrize("password", MOST_USED)
def test_a_much_used_password_is_refused(password: str) -> None:
    """In any case; the sentence says why and what would help."""
    for spelling in (password, password.title(), password.upper()):
        with pytest.raises(WeakPassword, match=r"^This is .* A few words"):
            rules().clean(spelling, "ann")


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("password", "This is one of the most used passwords."),
        ("letmein!!", "This is close to a much used password."),
        ("zxcvbnm,", "This is a row of keys on the keyboard."),
        ("x" * 128, "This repeats a character."),
        ("19841984", "This repeats a few characters."),
        ("efghijklm", "This is a sequence such as abc or 6543."),
        ("12.03.1984", "This is little more than a date."),
        ("Annabel.Smith", "This is your user name."),
        ("smith2024", "This is your user name with a year."),
        ("77-lebanna", "This is your user name backwards with a number."),
        ("Belle99-abc", "This is your address with a few letters more."),
        ("chatterbox!", "This is a name of this site."),
        ("RoadRunner1", "This is a name of this site with a number."),
        ("4nn4b3l20", "This is easy to guess."),
    ],
)
@pytest.mark.asvs("6.2.11")
def test_a_refused_password_is_explained(password: str, said: str) -> None:
    """Lists, patterns, the user's name and address, the names of the site and of its products."""
    site = rules(allowed_hosts=("chatterbox.example",), password_words=("Road Runner",))
    with pytest.raises(WeakPassword) as caught:
        site.clean(password, "Annabel Smith", "belle99@example.com")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    "password",
    [PASSWORD, NEW, "mxkqpwzv", "пароль🔑 лампа", "red lamp, old cat", "x" * 24 + "mxkqpwzvbt"],
)
def test_a_password_that_is_hard_to_guess_is_accepted(password: str) -> None:
    """Also eight letters at random, and a long one that begins badly."""
    assert rules().clean(password, "ann") == password


@pytest.mark.asvs("6.2.1", "6.2.9")
@pytest.mark.parametrize("least", [8, 15, 64])
def test_the_length_is_what_the_operator_says(least: int) -> None:
    """One character fewer is refused, and 64 are always enough."""
    chosen = rules(password_min_length=least)
    good = "mxkqpwzvbt,horse,battery,staple,lamps,over,mellow,green,hills,tea"
    assert chosen.clean(good[:least])
    with pytest.raises(InvalidAccount, match=f"{least} to 128"):
        chosen.clean(good[: least - 1])
    assert chosen.clean(good[:64])


def test_zxcvbn_gets_a_long_password_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds for 128 hostile characters, and holds the interpreter's lock."""
    lengths: list[int] = []

    def watched(password: str, words: list[str]) -> object:
        lengths.append(len(password))
        return zxcvbn("password", words)

    monkeypatch.setattr("app.accounts.password_strength.zxcvbn", watched)
    rules().judge(("4@8({[<369!1|70$5+72%0" * 6)[:128], "ann")
    assert lengths == [1, 24, 24, 24, 24, 24, 8]


async def test_an_old_password_still_signs_in(place: Place) -> None:
    """Whatever the rules are today; a new one has to follow them."""
    async with opened(place) as accounts:
        accounts.rules.min_length = 4
        accounts.rules.clean = lambda password, *names: password  # type: ignore[method-assign]
        await accounts.register("ann", "passw")
    async with opened(place) as accounts:
        assert await accounts.verify("ann", "passw") == "ann"
        proof = await accounts.prove("ann", "passw")
        for new in ("password", "ann", "ann 2024 ann"):
            with pytest.raises(InvalidAccount):
                await accounts.change_password(proof, new)
        assert await accounts.change_password(proof, NEW)


@pytest.mark.asvs("6.2.4", "6.2.11")
@each_kind
async def test_a_form_refuses_a_weak_password_and_says_why(
    site: Site, ann: Visitor, kind: str
) -> None:
    """At registration and at the change, with 422; nothing is stored and no session ends."""
    answer = await send(ann, kind, "/register", username="annabel", password="annabel2024")
    assert answer.status == 422
    assert answer.error.startswith("This is your user name with a year. A few words")
    assert await site.services.accounts.by_name("annabel") is None
    await ann.sign_up("annabel")
    fields = {"password": PASSWORD, "new_password": "password1"}
    answer = await send(ann, kind, "/account/password", **fields)
    assert (answer.status, answer.error.partition(".")[0]) == (
        422,
        "This is one of the most used passwords",
    )
    assert await site.services.accounts.verify("annabel", PASSWORD)


async def test_the_forms_tell_the_length_that_is_asked_for(tmp_path: Path) -> None:
    """With --password-min-length 15 the old hint would be wrong."""
    async with serve(tmp_path, password_min_length=15) as site, Visitor(site.url) as ann:
        assert "15 to 128 characters" in (await ask(ann, "/register")).text
        await ann.sign_up("ann")
        assert "15 to 128 characters" in (await ask(ann, "/account/sign-in")).text
