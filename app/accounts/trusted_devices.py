"""Trusted devices: browsers that are asked for no code for 30 days, as their user chose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from app.accounts.account_table import Proof
from app.accounts.accounts import Accounts
from app.accounts.rows import lock_account
from app.accounts.schema import totp as _totp
from app.accounts.schema import trusted_devices as _devices
from app.accounts.tokens import may_be_token, new_token, token_hash
from app.accounts.totp import TotpState

_LIFETIME = 30 * 86_400  # seconds

_MAX_USER_AGENT = 500  # characters that are kept
_ID_LENGTH = 16  # characters of the token's hash that are the public id


@dataclass(frozen=True)
class TrustedDevice:
    """A browser that has shown a code, as the account page lists it."""

    id: str  # public
    user_agent: str
    created: float  # seconds since 1970
    expires: float  # seconds since 1970


class TrustedDevices:
    """The trusted devices of accounts; pages have it as `services.trusted_devices`.

    The browser has a random token, the database its hash. A token is valid until it expires, and
    only as long as the account has the password and the second factor that it had. Every method
    raises AccountsUnavailable as `Accounts` does.
    """

    def __init__(self, accounts: Accounts, clock: Callable[[], float]) -> None:
        """`clock` returns the time in seconds since 1970; it is called on the event loop."""
        self._database = accounts.database
        self._calls = accounts.calls
        self._clock = clock

    async def trust(self, proof: Proof, factor: TotpState, user_agent: str) -> str:
        """Return a token for the browser of a user who has shown password and code.

        `factor` is the second factor as it was before the code was checked. Returns "" if it was
        turned off meanwhile, or the account was disabled or deleted.
        """
        token, now = new_token(), self._clock()
        assert proof.account is not None
        row: dict[str, str | float] = {
            "token_hash": token_hash(token),
            "account_id": proof.account.id,
            "password_state": _password_state(proof),
            "user_agent": user_agent[:_MAX_USER_AGENT].replace("\0", ""),
            "created": now,
            "expires": now + _LIFETIME,
        }
        inserted = await self._calls.run(lambda: self._insert(row, factor.secret, now))
        return token if inserted else ""

    async def knows(self, proof: Proof, token: str) -> bool:
        """Return whether this token stands for the code of a user who has shown the password."""
        if proof.account is None or not may_be_token(token):
            return False
        query = (
            sa.select(_devices.c.token_hash)
            .join(_totp, _totp.c.account_id == _devices.c.account_id)
            .where(
                _devices.c.token_hash == token_hash(token),
                _devices.c.account_id == proof.account.id,
                _devices.c.password_state == _password_state(proof),
                _devices.c.expires > self._clock(),
                _totp.c.confirmed.is_not(None),
            )
        )
        return await self._calls.run(lambda: self._first(query))

    async def list(self, account_id: str) -> tuple[TrustedDevice, ...]:
        """Return the trusted devices of an account, the latest first."""
        query = (
            sa.select(_devices)
            .where(_devices.c.account_id == account_id, _devices.c.expires > self._clock())
            .order_by(_devices.c.created.desc())
        )
        return await self._calls.run(lambda: self._rows(query))

    async def forget(self, account_id: str, id: str = "") -> int:
        """Ask the device with this id for a code again, or all of them; return how many."""
        which = _devices.c.account_id == account_id
        if id:
            which &= _public_id(_devices.c.token_hash) == id
        return await self._calls.run(lambda: self._delete(which))

    # -- blocking calls --

    def _insert(self, row: dict[str, str | float], secret: str, now: float) -> bool:
        account_id = str(row["account_id"])
        in_force = sa.select(_totp.c.account_id).where(
            _totp.c.account_id == account_id,
            _totp.c.secret == secret,
            _totp.c.confirmed.is_not(None),
        )
        with self._database.writing() as connection:
            # who turns two-step sign-in off or disables the account locks it too
            account = lock_account(connection, account_id)
            if account is None or account.disabled is not None:
                return False
            if connection.execute(in_force).first() is None:
                return False
            connection.execute(sa.delete(_devices).where(_devices.c.expires <= now))
            connection.execute(sa.insert(_devices), row)
            return True

    def _first(self, query: sa.Select[tuple[str]]) -> bool:
        with self._database.engine.connect() as connection:
            return connection.execute(query).first() is not None

    def _rows(self, query: sa.Select[tuple[object, ...]]) -> tuple[TrustedDevice, ...]:
        with self._database.engine.connect() as connection:
            return tuple(
                TrustedDevice(row.token_hash[:_ID_LENGTH], row.user_agent, row.created, row.expires)
                for row in connection.execute(query)
            )

    def _delete(self, which: sa.ColumnElement[bool]) -> int:
        with self._database.writing() as connection:
            return connection.execute(sa.delete(_devices).where(which)).rowcount


def _public_id(token_hash: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    return sa.func.substr(token_hash, 1, _ID_LENGTH)


def _password_state(proof: Proof) -> str:
    """Return a digest of the password's hash: another password ends the trust."""
    return hashlib.sha256((proof.password_hash or "").encode()).hexdigest()
