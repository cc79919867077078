"""Recovery codes: secrets on paper, each of which works once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import sqlalchemy as sa
from argon2.low_level import Type, hash_secret_raw

from app.accounts import passwords
from app.accounts.account import is_storable
from app.accounts.accounts import Accounts
from app.accounts.rows import lock_existing
from app.accounts.schema import recovery_codes as _codes

NUMBER = 10  # codes of one list
# without letters and digits that look like others: 0 o, 1 i l, 5 s, 2 z
_ALPHABET = "abcdefghjkmnpqrtuvwxy346789"
_HALF = 6  # characters on each side of the hyphen; 27 ** 12 codes are 57 bits
_SALT_BYTES = 16
_HASH_BYTES = 32


@dataclass(frozen=True)
class _Cost:
    """How argon2id hashes the codes of a list, as its column `salt` says."""

    memory: int  # KiB
    passes: int
    salt: bytes

    def __str__(self) -> str:
        return f"argon2id:{self.memory}:{self.passes}:{self.salt.hex()}"

    @classmethod
    def read(cls, text: str) -> _Cost:
        _, memory, passes, salt = text.split(":")
        return cls(int(memory), int(passes), bytes.fromhex(salt))

    def hash(self, code: str) -> str:
        raw = hash_secret_raw(
            code.encode(errors="replace"),
            self.salt,
            time_cost=self.passes,
            memory_cost=self.memory,
            parallelism=1,
            hash_len=_HASH_BYTES,
            type=Type.ID,
        )
        return raw.hex()


class RecoveryCodes:
    """The recovery codes of accounts. The database has argon2id hashes, with a salt per list.

    Every method raises AccountsUnavailable as `Accounts` does.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._database = accounts.database
        self._calls = accounts.calls
        self._memory, self._passes = passwords.MEMORY_COST, passwords.TIME_COST

    async def create(self, account_id: str, *, address: str = "") -> list[str]:
        """Replace the codes of an account by new ones, and return these to show them once.

        `address` is the key by which limits count a client. Raises InvalidAccount if the account
        is deleted.
        """
        codes = [_new_code() for _ in range(NUMBER)]

        def replace() -> None:
            cost = self._new_cost()
            hashes = [cost.hash(_normal(code)) for code in codes]
            with self._database.writing() as connection:
                _replace(connection, account_id, cost, hashes)

        await self._calls.hash(replace, address=address)
        return codes

    async def use(
        self,
        account_id: str,
        code: str,
        *,
        check_limits: Callable[[], Awaitable[None]] | None = None,
        address: str = "",
    ) -> bool:
        """Use a code up; return False if the account has no such code, or it was used before.

        Of two calls at once, in any process, one returns False. Upper case, spaces and hyphens
        do not matter. `check_limits` is as for `Accounts.prove`; the caller counts failures.
        """

        def check() -> bool:
            used = self.find(account_id, code)
            if used is None:
                return False
            with self._database.writing() as connection:
                return used(connection)

        return await self._calls.hash(check, check_limits=check_limits, address=address)

    async def left(self, account_id: str) -> int:
        """Return how many codes of an account are still to be used."""
        if not is_storable(account_id):
            return 0

        def count() -> int:
            query = sa.select(sa.func.count()).where(_unused(account_id))
            with self._database.engine.connect() as connection:
                return int(connection.execute(query).scalar_one())

        return await self._calls.run(count)

    def find(self, account_id: str, code: str) -> Callable[[sa.Connection], bool] | None:
        """Return the function that uses this code up in a transaction; None if it is wrong.

        It blocks for one hash, whether there is such an account or not: call it in a thread.
        """
        query = sa.select(_codes.c.salt, _codes.c.code_hash).where(_unused(account_id))
        with self._database.engine.connect() as connection:
            rows = connection.execute(query).all() if is_storable(account_id) else []
        cost = _Cost.read(rows[0].salt) if rows else self._new_cost()
        code_hash = cost.hash(_normal(code))
        if code_hash not in {row.code_hash for row in rows}:
            return None
        return lambda connection: _use(connection, account_id, code_hash)

    def _new_cost(self) -> _Cost:
        return _Cost(self._memory, self._passes, secrets.token_bytes(_SALT_BYTES))


def _new_code() -> str:
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(2 * _HALF))
    return f"{letters[:_HALF]}-{letters[_HALF:]}"


def _normal(code: str) -> str:
    """Return a code as it is hashed: what a user types may have spaces and capitals."""
    return "".join(letter for letter in code[:100].lower() if letter.isalnum())


def _unused(account_id: str) -> sa.ColumnElement[bool]:
    return (_codes.c.account_id == account_id) & _codes.c.used.is_(None)


def _use(connection: sa.Connection, account_id: str, code_hash: str) -> bool:
    mine = _unused(account_id) & (_codes.c.code_hash == code_hash)
    used = sa.update(_codes).where(mine).values(used=time.time())
    return connection.execute(used).rowcount == 1


def _replace(connection: sa.Connection, account_id: str, cost: _Cost, hashes: list[str]) -> None:
    lock_existing(connection, account_id)  # so that two calls at once do not leave two lists
    connection.execute(sa.delete(_codes).where(_codes.c.account_id == account_id))
    row = {"account_id": account_id, "salt": str(cost), "created": time.time()}
    connection.execute(sa.insert(_codes), [{**row, "code_hash": each} for each in hashes])
