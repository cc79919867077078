"""The rules for names: no invisible characters, no look-alikes of other names (UTS 39)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.accounts import InvalidAccount, NameTaken, account_key, schema
from app.accounts.account_changes import AccountChanges
from app.accounts.lookalikes import lookalikes, mixes_scripts
from app.accounts.passwords import Passwords, clean_name
from app.settings import Settings
from tests.support.accounts import add, opened, opened_at
from tests.support.forms import PASSWORD
from tests.support.postgres import Place
from tests.support.site import Site
from tests.support.visitor import Visitor

CYRILLIC_ADMIN = "\u0430dmin"  # with the letter a of Cyrillic


@pytest.mark.parametrize(
    "name",
    [
        CYRILLIC_ADMIN,
        "\u0430\u0501min",
        "p\u0430ypal",
        "\u03a9mega",
        "Иван Smith",
        "ひら한",  # Hiragana and Hangul
        "ㄅひ",  # Bopomofo and Hiragana
        "мαx",
    ],
)
def test_a_name_in_letters_of_several_alphabets_mixes_scripts(name: str) -> None:
    assert mixes_scripts(name)


@pytest.mark.parametrize(
    "name",
    [
        *("admin", "Zoë", "Đorđe", "naïve-2", "O'Brien", "42", "😀", "a😀b"),
        *("Иван", "Ольга 2", "Ελένη", "مريم", "דוד", "राम", "ธนา", "Ջոն"),
        *("日本太郎Taro", "ニコ", "さくら", "김철수 kim", "李ㄅx", "王小明"),
    ],
)
def test_a_name_in_one_writing_system_mixes_no_scripts(name: str) -> None:
    """Japanese, Korean and Chinese with Latin letters are each one way of writing."""
    assert not mixes_scripts(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("coco", "\u0441\u043e\u0441\u043e"),  # Cyrillic
        ("ape", "\u0430\u0440\u0435"),
        ("\u043e\u043e", "\u03bf\u03bf"),  # Cyrillic and Greek
        ("admin", "adm\u0131n"),  # the dotless i of Turkish
        ("ニロ", "二口"),  # Katakana and Han
        ("eyeyeyeyeyey", "\u0435\u0443" * 6),  # spelt in more ways than are tried
        ("coco 2", "\u0441\u043e\u0441\u043e 2"),
        ("her", "\u043d\u0435\u0433"),  # Her, a capital and small letters
        ("niki", "\u03bd\u03b9\u03ba\u03b9"),  # NIKI; the skeleton of a Greek I is l
        ("bob 3", "\u0432\u043e\u0432 3"),  # BOB 3; a capital of Cyrillic looks like the digit
        ("bob", "\ua4d0\ua4f3\ua4d0"),  # Lisu, which has only capitals
        ("petpetpetpet", "\u0440\u0435\u0442" * 4),  # PETPETPETPET
    ],
)
def test_names_that_look_the_same_are_lookalikes_both_ways(one: str, other: str) -> None:
    assert other in lookalikes(one)
    assert one in lookalikes(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("kern", "kem"), ("user1", "userl"), ("иван", "ivan"), ("max", "mac"), ("o", "0")],
)
def test_names_that_differ_are_no_lookalikes(one: str, other: str) -> None:
    """ASCII letters and digits never stand for each other."""
    assert other not in lookalikes(one)
    assert one not in lookalikes(other)
    assert one not in lookalikes(one)


async def test_a_page_refuses_the_name_with_a_sentence(site: Site, ann: Visitor) -> None:
    """Whether it mixes alphabets, or looks like a name that is taken."""
    async with Visitor(site.url) as eve:
        await ann.sign_up("coco")
        for name, said in (
            (CYRILLIC_ADMIN, "one alphabet"),
            ("\u0441\u043e\u0441\u043e", "looks like one that is taken"),
        ):
            account = {"username": name, "password": PASSWORD}
            status, text = await eve.post("/register", json=account)
            assert status == 422 or status == 409, text
            assert said in text
        await eve.sign_up("\u0438\u0432\u0430\u043d")  # all Cyrillic, and like no other name
        assert (await eve.get("/account"))[0] == 200


@pytest.mark.attack("A15")
async def test_the_database_refuses_a_lookalike_in_any_order(place: Place) -> None:
    async with opened(place) as accounts:
        await accounts.register("\u0430\u0440\u0435", PASSWORD)
        with pytest.raises(NameTaken, match="looks like"):
            await accounts.register("Ape", PASSWORD)
        with pytest.raises(NameTaken, match="is taken"):
            await accounts.register("\u0410\u0440\u0435", PASSWORD)
        await accounts.register("max", PASSWORD)
        await accounts.register("mac", PASSWORD)


@pytest.mark.attack("A15")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("KATE", "\u041a\u0410\u0422\u0415"),  # Cyrillic
        ("BOB", "\u0412\u041e\u0412"),
        ("HOST", "\u041d\u041e\u0405\u0422"),
        ("ZETA", "\u0396\u0395\u03a4\u0391"),  # Greek
        ("MIKE", "\u13b7\u13a5\u13e6\u13ac"),  # Cherokee
    ],
)
async def test_a_name_that_looks_like_another_in_capitals_is_refused(
    place: Place, one: str, other: str
) -> None:
    """In either order, registered or renamed to, and whichever case the first has."""
    async with opened(place) as accounts:
        changes = AccountChanges(accounts.database, accounts)
        for first, second in ((one, other), (other, one), (one.lower(), other)):
            made = [await accounts.add("max"), await accounts.add(first)]
            with pytest.raises(NameTaken, match="looks like"):
                await accounts.register(second, PASSWORD)
            with pytest.raises(NameTaken, match="looks like"):
                await changes.rename(made[0], second)
            for account in made:
                assert await accounts.remove(account)


def test_common_names_are_no_lookalikes() -> None:
    """Neither those of one alphabet, nor those of several."""
    names = """
        alan alana alex alexis amy ana ann anna anne bill billy bob bobby rob robby hob carl karl
        cate kate carol karol dan dana daniel danielle eric erik gene jean jan jana jane jill jim
        joe jon john juan julia julie kim lea lee leo lil lola lori mac max mark marc maria marie
        mary nick nic nina noel paul paula pete peter ray roy sam sara sarah tim tom tony toni vic
        will willy zoe il ll li l1 1l o0 0o oo 00 kern kem user1 userl zoë josé jose renée renee
        иван анна антон борис вера виктор галина елена игорь катя кирилл ксения лариса макс максим
        марина мария марк николай нина оксана олег ольга павел роман рома света сергей соня тамара
        тарас татьяна тома юлия юрий яна άννα γιώργος ελένη ζωή ηρώ κώστας μαρία νίκος ρένα σοφία
        τάσος υβόννη
    """
    keys = {account_key(name) for name in names.split()}
    assert not [(key, found) for key in keys if (found := lookalikes(key) & keys)]


@pytest.mark.limit(60)
async def test_the_command_refuses_it_too(place: Place) -> None:
    code, _, error = await add("add", CYRILLIC_ADMIN, "--password-stdin", *place.flags)
    assert (code, "one alphabet" in error) == (1, True)
    assert (await add("add", "ape", "--password-stdin", *place.flags))[0] == 0
    code, _, error = await add("add", "\u0430\u0440\u0435", "--password-stdin", *place.flags)
    assert (code, "looks like" in error) == (1, True)


async def test_accounts_that_exist_sign_in_whatever_their_name(tmp_path: Path) -> None:
    """An older release let them have it."""
    async with opened_at(Settings(data_dir=tmp_path)) as accounts:
        row = {"name": CYRILLIC_ADMIN, "key": account_key(CYRILLIC_ADMIN), "created": time.time()}
        row["password_hash"] = Passwords().hash(PASSWORD)
        with accounts._table._database.writing() as connection:
            connection.execute(sa.insert(schema.accounts), row)
        assert await accounts.verify(CYRILLIC_ADMIN, PASSWORD) == CYRILLIC_ADMIN
        with pytest.raises(InvalidAccount):
            await accounts.register(CYRILLIC_ADMIN + "2", PASSWORD)


async def test_unicode_tables_are_loaded_on_the_first_registration() -> None:
    """They take 6 MB, which a process that only serves has no use for."""
    import asyncio

    program = "import app.__main__, sys; print('confusable_homoglyphs.confusables' in sys.modules)"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert out.strip() == b"False"


@pytest.mark.parametrize(
    "name",
    [
        "\u3164",
        "\u115f",
        "\u2800",
        "m\u034fax",
        "max\ufe0f",
        "\U000e0100max",
        "max\u17b4",
        "\ue000",
    ],
)
def test_invisible_characters_are_refused(name: str) -> None:
    """Unicode's default ignorables have several categories."""
    with pytest.raises(InvalidAccount):
        clean_name(name)
