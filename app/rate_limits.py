"""The rate limits of this application: what is limited, for whom, and how often."""

from __future__ import annotations

import math
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from app.common.rates import MakeRate, ProcessRate
from app.settings import Settings

#: Requests per minute for one user; a page with 100 sessions takes ten times the CPU of others.
_ACCOUNT_PAGES = 120
_MAIL_REQUESTS = 30  # an hour of one client's address
_MAILS = 5  # an hour to one mailbox or for one account
_HOUR = 3600.0  # seconds
#: Wrong codes of one account in an hour. Of a million codes three are right at a time, so somebody
#: who knows the password guesses for months.
_CODES = 10
_DEVICE_CODES = 30  # in an hour of all known devices of one account together
_CODE_LISTS = 5  # lists of recovery codes that a user makes in an hour; each costs ten hashes
#: Passwords per minute that one address has judged; the meter asks once for each pause in typing.
_STRENGTHS = 120


@lru_cache(4096)  # each handshake asks, and reading an address takes longer than counting it
def subscriber(address: str) -> str:
    """Return what limits know a client by: its address, or for IPv6 the /64 of its subscriber."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        # a socket of both families shows IPv4 as ::ffff:192.0.2.1
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return address


class Limits:
    """The rate limits of one application. Each method returns seconds to wait; 0: go on.

    `make_rate` decides where they are counted: in this process, or in Redis for all processes.
    """

    def __init__(self, settings: Settings, make_rate: MakeRate = ProcessRate) -> None:
        self._handshakes = make_rate("handshakes", settings.handshakes_per_minute)
        self._new_sessions = make_rate("sessions", settings.handshakes_per_minute)
        self._failures = make_rate("failures", settings.failed_logins_per_minute)
        self._mail_requests = make_rate("mail requests", _MAIL_REQUESTS, _HOUR)
        self._mails = make_rate("mails", _MAILS, _HOUR)
        self._account_pages = make_rate("pages", _ACCOUNT_PAGES)
        self._codes = make_rate("codes", _CODES, _HOUR)
        self._device_codes = make_rate("device codes", _DEVICE_CODES, _HOUR)
        self._code_lists = make_rate("recovery codes", _CODE_LISTS, _HOUR)
        self._strengths = make_rate("strengths", _STRENGTHS)

    async def handshake(self, address: str) -> int:
        """Count a handshake of this address."""
        return await self._handshakes.take(subscriber(address))

    async def account_page(self, user_id: str) -> int:
        """Count a request of this user for the account page or one of its forms."""
        return await self._account_pages.take(user_id)

    async def password_strength(self, address: str) -> int:
        """Count a new password of this address, which the meter or a form judges."""
        return await self._strengths.take(subscriber(address))

    async def recovery_codes(self, user_id: str) -> int:
        """Count a list of recovery codes that this user makes."""
        return await self._code_lists.take(user_id)

    async def new_session(self, address: str) -> int:
        """Count a session that a page creates for this address."""
        return await self._new_sessions.take(subscriber(address))

    async def new_session_wait(self, address: str) -> int:
        """Return how long no page creates a session for this address; count nothing."""
        return await self._new_sessions.wait(subscriber(address))

    async def login_wait(self, address: str, account: str, device: str = "") -> int:
        """Return how long this address, or this account, may not be tried; count nothing.

        A `device` that is known to the account has tries of its own, and only those: neither
        strangers who try the account nor neighbours behind one address can use them up.
        """
        return await self._failures.wait(*_login_keys(address, account, device))

    async def login_failed(self, address: str, account: str, device: str = "") -> None:
        """Count a failed login against the address and the account, or against the device."""
        await self._failures.hit(*_login_keys(address, account, device))

    async def reset_request(self, address: str, account: str) -> int:
        """Count a request for a mail with a link: of this address, and for this account."""
        wait = await self._mail_requests.take("address " + subscriber(address))
        return wait or await self._mails.take(account)

    async def reset_mail(self, user_id: str) -> int:
        """Count a mail with a link, however it was asked for: by the name or by the address."""
        return await self._mails.take("link " + user_id)

    async def confirmation(self, user_id: str, email: str) -> int:
        """Count a mail that asks to confirm an address: of this user, and to this address."""
        return await self._mails.take("user " + user_id, "to " + email)

    async def link_wait(self, address: str) -> int:
        """Return how long this address may not try links; count nothing."""
        return await self._failures.wait("address " + subscriber(address))

    async def link_failed(self, address: str) -> None:
        """Count an invalid link against the address, as a failed login."""
        await self._failures.hit("address " + subscriber(address))

    async def password_wait(self, user_id: str) -> int:
        """Return how long a signed-in user may not try the account's password; count nothing."""
        return await self._failures.wait("signed in " + user_id)

    async def password_failed(self, user_id: str) -> None:
        """Count a wrong password of a user who is signed in to this account."""
        await self._failures.hit("signed in " + user_id)

    async def code_wait(self, user_id: str, device: str = "") -> int:
        """Return how long no second factor of this account is checked; count nothing.

        Ask for users only who have proven their password, or who are signed in: others could use
        up the tries of the owner. A `device` that has signed in before has tries of its own, of
        which all devices of the account together have three times as many.
        """
        wait = await self._codes.wait(_code_key(user_id, device))
        return max(wait, await self._device_codes.wait(user_id)) if device else wait

    async def code_failed(self, user_id: str, device: str = "") -> None:
        """Count a wrong code of a second factor, or a wrong recovery code."""
        await self._codes.hit(_code_key(user_id, device))
        if device:
            await self._device_codes.hit(user_id)


def in_words(seconds: int) -> str:
    """Return a number of seconds for a person who has to wait."""
    if seconds > 120:
        return f"{math.ceil(seconds / 60)} minutes"
    return f"{seconds} second" if seconds == 1 else f"{seconds} seconds"


def _code_key(user_id: str, device: str) -> str:
    return f"device {device}" if device else f"account {user_id}"


def _login_keys(address: str, account: str, device: str) -> list[str]:
    """Return the keys against which one login is counted."""
    if device:
        return ["device " + device]
    return ["address " + subscriber(address), "account " + account]
