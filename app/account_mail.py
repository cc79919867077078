"""What users are told by mail about their account, and the links that mails bring."""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime

from app.accounts import (
    Account,
    Accounts,
    AccountsUnavailable,
    Change,
    Emails,
    InvalidAccount,
    OneTimeLinks,
)
from app.common.background import Background
from app.common.rate_limited_log import RateLimitedLog
from app.devices.user_agents import describe
from app.mail import InvalidAddress, Mail, clean_address, shown_address
from app.ops.audit import Audit
from app.rate_limits import Limits

log = logging.getLogger("latchkey.mail")

_LIFETIME = 3600.0  # seconds of a link
_MAX_REQUESTS = 200  # for links, that are looked up at a time


class AccountMail:
    """Mails to the confirmed addresses of accounts; without --mail, none are sent."""

    def __init__(
        self,
        mail: Mail,
        accounts: Accounts,
        links: OneTimeLinks,
        emails: Emails,
        audit: Audit,
        limits: Limits,
    ) -> None:
        self._mail = mail
        self._accounts = accounts
        self._links = links
        self._emails = emails
        self._audit = audit
        self._limits = limits
        self._requests = Background()
        self._waiting = 0
        self._dropped = RateLimitedLog(log)

    @property
    def enabled(self) -> bool:
        """Whether this site sends mails."""
        return self._mail.enabled

    # -- links --

    def request_reset(self, typed: str, *, remote_address: str) -> None:
        """Send a link to the account with this name or address, if it may have one.

        The call only notes the request, so that its time does not reveal whether there is such an
        account.
        """
        if self._waiting >= _MAX_REQUESTS:
            self._dropped.add("a request for a link was dropped", f"{self._waiting} wait already")
            return
        self._waiting += 1
        self._requests.start(self._send_links(typed, remote_address))

    async def _send_links(self, typed: str, remote_address: str) -> None:
        try:
            for account in await self._find(typed):
                may = account.email and account.disabled is None and account.has_password
                # counted by account, because name and address are counted apart before
                if account.email and may and not await self._limits.reset_mail(account.id):
                    await self._send_link(account, account.email, remote_address)
        except (AccountsUnavailable, InvalidAccount) as error:
            self._dropped.add("a request for a link was dropped", str(error))
        finally:
            self._waiting -= 1

    async def _find(self, typed: str) -> list[Account]:
        """Return the accounts with this address, and the one with this name."""
        found: list[Account] = []
        with contextlib.suppress(InvalidAddress):
            found = await self._emails.accounts_of(clean_address(typed))
        named = await self._accounts.by_name(typed)
        return found if named is None or named in found else [*found, named]

    async def _send_link(self, account: Account, email: str, remote_address: str) -> None:
        token = await self._links.create(account.id, "mailed reset", _LIFETIME, email)
        self._mail.send_template(email, "reset", name=account.name, token=token)
        self._audit.add(
            "reset link",
            user=account.name,
            address=remote_address,
            user_id=account.id,
            method="mail",
        )

    async def ask_to_confirm(self, account_id: str, email: str) -> None:
        """Send a link that confirms a clean address; raises InvalidAccount."""
        token = await self._links.create(account_id, "email", _LIFETIME, email)
        # without the name of the account, which its user has chosen, and may be an advertisement
        self._mail.send_template(email, "confirm_address", token=token)

    # -- notices --

    def address_changed(self, change: Change) -> None:
        """Tell the old address that the account has another one, or none."""
        old = change.account.email
        if old and old != change.new:
            new = shown_address(change.new) if change.new else ""
            self._mail.send_template(old, "address_changed", name=change.account.name, new=new)

    def password_changed(self, account: Account, how: str) -> None:
        """Tell the user that the password was changed; `how` ends the sentence."""
        if account.email:
            self._mail.send_template(account.email, "password_changed", name=account.name, how=how)

    def recovery_codes_made(self, account_id: str) -> None:
        """Tell the user, in the background, that the account has new recovery codes."""
        self._tell(account_id, "recovery_codes")

    def two_step_changed(self, account_id: str, state: str) -> None:
        """Tell the user, in the background, that two-step sign-in is "on" or "off" now."""
        self._tell(account_id, "two_step_sign_in", state=state)

    def new_device(self, account_id: str, *, user_agent: str, remote_address: str) -> None:
        """Tell the user, in the background, of a sign-in on a device that is not known."""
        if self.enabled:
            self._requests.start(self._tell_of_device(account_id, user_agent, remote_address))

    def _tell(self, account_id: str, template: str, **names: str) -> None:
        if self.enabled:
            self._requests.start(self._send(account_id, template, **names))

    async def _send(self, account_id: str, template: str, **names: str) -> None:
        account = await self._addressee(account_id, template)
        if account is not None and account.email:
            self._mail.send_template(account.email, template, name=account.name, **names)

    async def _tell_of_device(self, account_id: str, user_agent: str, remote_address: str) -> None:
        account = await self._addressee(account_id, "new_device")
        if account is None or not account.email:
            return
        device = (await describe({user_agent}))[user_agent]
        self._mail.send_template(
            account.email,
            "new_device",
            name=account.name,
            browser=" on ".join(filter(None, [device.browser or "unknown", device.system])),
            address=remote_address,
            time=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        )

    async def _addressee(self, account_id: str, template: str) -> Account | None:
        """Return the account that a mail goes to; None if it is deleted, or cannot be read."""
        try:
            return await self._accounts.by_id(account_id)
        except AccountsUnavailable as error:
            self._dropped.add("no mail tells of a change", f"{template}: {error}")
            return None

    async def stop(self, seconds: float) -> None:
        """Look up the requests that wait, and send the mails, for this time at most each."""
        await self._requests.stop(seconds=seconds)
        await self._mail.stop(seconds)
