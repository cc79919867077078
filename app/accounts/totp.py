"""Second factors: time-based one-time passwords (TOTP, RFC 6238) of an authenticator app."""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pyotp
import sqlalchemy as sa
from pyotp.totp import TOTP
from sqlalchemy.exc import IntegrityError

from app.accounts.account import Account
from app.accounts.accounts import Accounts
from app.accounts.passwords import InvalidAccount
from app.accounts.rows import lock_account, lock_existing
from app.accounts.schema import totp as _totp
from app.accounts.schema import trusted_devices as _trusted_devices

_DIGITS = 6
_WINDOW = 1  # steps of 30 seconds before and after the server's time
_MAX_LENGTH = 32  # characters of a code as it was typed


class TotpOn(InvalidAccount):
    """The account has a second factor, which has to be turned off before a new one begins."""


@dataclass(frozen=True)
class TotpState:
    """The second factor of an account."""

    #: Shared with the authenticator app; show it before `confirmed` only.
    secret: str = field(repr=False)
    #: When its user has shown the first code, in seconds since 1970; None: it is not in force.
    confirmed: float | None

    def uri(self, account: Account, issuer: str) -> str:
        """Return the address that an authenticator app reads from a QR code.

        `issuer` is the name of this site in the list of the app.
        """
        issuer = issuer.replace(":", " ")
        name = account.name.replace(":", " ")  # the colon parts both
        return TOTP(self.secret).provisioning_uri(name=name, issuer_name=issuer)


class Totp:
    """The second factors of accounts; pages have it as `services.totp`.

    Every method raises AccountsUnavailable as `Accounts` does. The time is the server's.
    """

    def __init__(self, accounts: Accounts, clock: Callable[[], float]) -> None:
        """`clock` returns the time in seconds since 1970; it is called on the event loop."""
        self._database = accounts.database
        self._calls = accounts.calls
        self._clock = clock

    async def state(self, account_id: str) -> TotpState | None:
        """Return the second factor, in force or not; None if there is none."""
        return await self._calls.run(lambda: self._read(account_id))

    async def is_on(self, account_id: str) -> bool:
        """Return whether this account signs in with a code."""
        state = await self.state(account_id)
        return state is not None and state.confirmed is not None

    async def begin(self, account_id: str) -> TotpState:
        """Make a secret, which replaces an earlier one that was not confirmed.

        Raises TotpOn, and InvalidAccount if the account is deleted.
        """
        secret, now = pyotp.random_base32(), self._clock()
        await self._calls.run(lambda: self._begin(account_id, secret, now))
        return TotpState(secret, None)

    async def confirm(
        self,
        account_id: str,
        code: str,
        *,
        check_limits: Callable[[], Awaitable[None]] | None = None,
    ) -> bool:
        """Put the secret in force if this is its code now; a sign-in cannot use the code again."""
        now = self._clock()
        return await self._calls.run(
            lambda: self._use(account_id, code, now, confirms=True), check_limits=check_limits
        )

    async def check(
        self,
        account_id: str,
        code: str,
        *,
        check_limits: Callable[[], Awaitable[None]] | None = None,
    ) -> bool:
        """Return whether this is a code of the account now, and use it up.

        Of two calls at once with one code, in any process, one gets False. `check_limits` may
        raise; it is called when the call waits, and again when it has a thread, so that guesses
        sent at once are limited as those one by one. Callers count what fails:
        `services.limits.code_wait` and `code_failed`.
        """
        now = self._clock()
        return await self._calls.run(
            lambda: self._use(account_id, code, now, confirms=False), check_limits=check_limits
        )

    async def remove(self, account_id: str) -> bool:
        """Turn the second factor off and forget trusted devices; return whether it was on."""
        return await self._calls.run(lambda: self._remove(account_id))

    def now(self) -> float:
        """Return the server's time; call it on the event loop, for `find`."""
        return self._clock()

    # -- blocking calls --

    def find(
        self, account_id: str, code: str, now: float
    ) -> Callable[[sa.Connection], bool] | None:
        """Return the function that uses this code up in a transaction; None if it is wrong.

        An account without two-step sign-in needs no code. It blocks: call it in a thread.
        """
        state = self._read(account_id)
        if state is None or state.confirmed is None:
            return lambda connection: True
        use = _use_of(account_id, state, code, now)
        return None if use is None else lambda connection: connection.execute(use).rowcount == 1

    def _read(self, account_id: str) -> TotpState | None:
        query = sa.select(_totp).where(_totp.c.account_id == account_id)
        with self._database.engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else TotpState(row.secret, row.confirmed)

    def _begin(self, account_id: str, secret: str, now: float) -> None:
        unconfirmed = (_totp.c.account_id == account_id) & _totp.c.confirmed.is_(None)
        row = {"account_id": account_id, "secret": secret, "created": now, "last_step": 0}
        try:
            with self._database.writing() as connection:
                lock_existing(connection, account_id)
                connection.execute(sa.delete(_totp).where(unconfirmed))
                connection.execute(sa.insert(_totp), row)
        except IntegrityError:
            raise TotpOn("Two-step sign-in is on already. Turn it off first.") from None

    def _use(self, account_id: str, code: str, now: float, *, confirms: bool) -> bool:
        """Use a code up, and with `confirms` put its secret in force."""
        state = self._read(account_id)
        if state is None or (state.confirmed is None) is not confirms:
            return False
        use = _use_of(account_id, state, code, now)
        if use is None:
            return False
        with self._database.writing() as connection:
            return connection.execute(use).rowcount == 1

    def _remove(self, account_id: str) -> bool:
        mine = _totp.c.account_id == account_id
        devices = _trusted_devices.c.account_id == account_id
        with self._database.writing() as connection:
            lock_account(connection, account_id)  # no device is trusted meanwhile
            connection.execute(sa.delete(_trusted_devices).where(devices))
            on = sa.select(_totp.c.confirmed).where(mine, _totp.c.confirmed.is_not(None))
            was_on = connection.execute(on).first() is not None
            return connection.execute(sa.delete(_totp).where(mine)).rowcount == 1 and was_on


def _use_of(account_id: str, state: TotpState, code: str, now: float) -> sa.Update | None:
    """Return the statement that uses a code up; None if the code is wrong.

    It changes no row if the code was used before. It puts a secret in force that is not yet.
    """
    step = _step(state.secret, code, now)
    if step is None:
        return None
    confirms = state.confirmed is None
    # compared in the database: one of two calls at once finds the row unchanged
    unchanged = (
        (_totp.c.account_id == account_id)
        & (_totp.c.secret == state.secret)
        & (_totp.c.last_step < step)
        & (_totp.c.confirmed.is_(None) if confirms else _totp.c.confirmed.is_not(None))
    )
    changes = {"last_step": step, **({"confirmed": now} if confirms else {})}
    return sa.update(_totp).where(unchanged).values(changes)


def _step(secret: str, code: str, now: float) -> int | None:
    """Return the step whose code this is; None if it is not one of the window."""
    if len(code) > _MAX_LENGTH:
        return None
    typed = "".join(unicodedata.normalize("NFKC", code).split())
    if len(typed) != _DIGITS or not (typed.isascii() and typed.isdigit()):
        return None
    totp, found = TOTP(secret), None
    middle = totp.timecode(int(now))
    for step in range(middle - _WINDOW, middle + _WINDOW + 1):
        if hmac.compare_digest(totp.generate_otp(step), typed):
            found = step
    return found
