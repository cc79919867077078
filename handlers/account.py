"""The account page: where its user is signed in, live, and the ways to end that."""

import contextlib
from typing import Any, ClassVar

import msgspec
from tornado.web import HTTPError, authenticated

from app.accounts import AccountsUnavailable, InvalidAccount, Proof, account_key
from app.devices import Device
from app.limits import in_words, subscriber
from app.sessions.session import SessionEnded
from app.stores import StoreError, public_id
from app.web.errors import TooManyRequests
from handlers.account_page import AccountPage
from handlers.session import BaseNamespace

_REVOKE = 10  # events that a `revoke` counts as
_DONE = {
    "device": "That device is signed out.",
    "others": "You are signed out everywhere else.",
    "password": "Your password is changed, and you are signed out everywhere else.",
}


class AccountHandler(AccountPage):
    """The page itself."""

    @authenticated
    async def get(self) -> None:
        await self.show(notice=_DONE.get(self.get_query_argument("done", ""), ""))


class RevokeHandler(AccountPage):
    """Signs out one device of this user."""

    @authenticated
    async def post(self, id: str) -> None:
        if id == public_id(self.session.id):
            await self.sign_out()
            self.answer_done("/login?next=/account")
        elif await self.services.devices.revoke(self.user, id):
            self.done("device")
        else:
            raise HTTPError(404, "unknown session")


class RevokeOthersHandler(AccountPage):
    """Signs out all devices of this user but this one."""

    @authenticated
    async def post(self) -> None:
        await self.services.devices.revoke_others(self.user, self.session.id)
        self.done("others")


class PasswordFormHandler(AccountPage):
    """A form that asks for the password: to have the session alone is not enough for it."""

    form: ClassVar[str]

    @authenticated
    async def post(self) -> None:
        try:
            await self.act()
        except InvalidAccount as error:
            await self._refuse(422, str(error))
        except AccountsUnavailable as error:
            self.set_header("Retry-After", str(error.wait))
            await self._refuse(error.status, str(error))
        except TooManyRequests as error:
            self.set_header("Retry-After", str(error.wait))
            sentence = f"Too many wrong passwords; wait {in_words(error.wait)} and try again."
            await self._refuse(429, sentence)
        except HTTPError as error:
            await self._refuse(error.status_code, error.log_message or error.reason or "")

    async def act(self) -> None:
        """Do what the form asks for, and answer; what it raises is shown beside the form."""
        raise NotImplementedError

    async def prove(self, password: str) -> Proof:
        """Return the proof that it is the user who asks; raises HTTPError 403, and 429."""
        account = account_key(self.user)
        proof = await self.services.accounts.prove(
            self.user,
            password,
            admit=lambda: self._admit(account),
            address=subscriber(self.remote_address),
        )
        if not proof or proof.name != self.user:
            self.services.limits.password_failed(account)
            self.audit("failure", reason=f"wrong password: {self.form}")
            raise HTTPError(403, "Wrong password.")
        return proof

    def _admit(self, account: str) -> None:
        wait = self.services.limits.password_wait(account)
        if wait:
            raise TooManyRequests(wait, "too many wrong passwords")

    def audit(self, event: str, *, reason: str = "") -> None:
        """Log what the user of this session did."""
        self.services.audit.add(event, user=self.user, address=self.remote_address, reason=reason)

    async def _refuse(self, status: int, sentence: str) -> None:
        self.set_status(status)
        if self.wants_json:
            self.write({"error": sentence})
            return
        if self.session:  # else its user is out already, and has no account page to show it on
            with contextlib.suppress(StoreError):
                await self.show(form=self.form, wrong=sentence)
                return
        self.set_header("Cache-Control", "no-store")
        self.render("error.html", status=status, sentence=sentence)


class PasswordHandler(PasswordFormHandler):
    """Changes the password, and signs out all devices but this one, which gets a new id."""

    form = "password"

    async def act(self) -> None:
        password, new = self.fields("password", "new_password")
        accounts, devices = self.services.accounts, self.services.devices
        proof = await self.prove(password)
        # or else other sessions would outlive the password
        await self.services.sessions.store.ping()
        address = subscriber(self.remote_address)
        changed = await accounts.change_password(proof, new, address=address)
        if not changed:
            raise HTTPError(409, "Your password was changed just now; nothing was done.")
        self.audit("password change")
        try:
            # this session may have been ended meanwhile, by who knows a still newer password
            if not await self.regenerate(confirm=lambda: accounts.holds(changed, new)):
                raise HTTPError(409, "Your password was changed once more just now; sign in again.")
            await devices.revoke_others(self.user, self.session.id)
        except StoreError as error:
            sentence = (
                "Your password is changed, but the session store does not answer: "
                "use “Sign out everywhere else” when it does."
            )
            raise HTTPError(503, sentence) from error
        except AccountsUnavailable as error:
            sentence = (
                "Your password is changed, but the database of accounts does not answer: "
                "sign in again when it does, and use “Sign out everywhere else”."
            )
            raise HTTPError(503, sentence) from error
        known = self.web.device_cookie.issue(
            account_key(self.user), changed.stamp or "", secure=self.secure
        )
        self.add_header("Set-Cookie", known)
        self.done("password")


class DeleteHandler(PasswordFormHandler):
    """Deletes the account and ends all of its sessions; its name is free afterwards."""

    form = "delete"

    async def act(self) -> None:
        (password,) = self.fields("password")
        proof, user = await self.prove(password), self.user
        # before, so that no session outlives its account whatever fails in between
        await self.services.devices.revoke_others(user, self.session.id)
        await self.sign_out()
        if await self.services.accounts.delete(proof):
            self.services.audit.add("deletion", user=user, address=self.remote_address)
        elif await self.services.accounts.stamp(user):
            raise HTTPError(409, "Your password was changed just now; the account is still there.")
        # and after, for who signed in meanwhile
        await self.services.devices.revoke_others(user)
        self.answer_done("/")


class AccountNamespace(BaseNamespace):
    """The page's sockets; a visitor is refused with the connect error `unauthorized`."""

    login_required = True

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self._users: dict[str, str] = {}  # by sid

    async def on_connect(self, sid: str) -> bool:
        try:
            session = await self.session_for(sid)
        except SessionEnded:
            return False
        assert session.user is not None
        self._users[sid] = session.user
        self.services.device_watchers.watch(session.user, sid, session.id, self._send)
        return True

    def on_disconnect(self, sid: str) -> None:
        user = self._users.pop(sid, None)
        if user is not None:
            self.services.device_watchers.unwatch(user, sid)

    async def on_revoke(self, sid: str, id: Any) -> bool | dict[str, str]:
        """Sign out the device of this user with this public id, and ack true."""
        user = self._users.get(sid)
        if user is None:  # it left while its event was on the way
            raise SessionEnded("")
        self.charge(sid, _REVOKE)
        if await self.services.devices.revoke(user, str(id)):
            return True
        return {"error": "unknown session"}

    async def _send(self, sid: str, devices: list[Device]) -> None:
        await self.emit("sessions", msgspec.to_builtins(devices), to=sid)


routes = [
    (r"/account", AccountHandler),
    (r"/account/sessions/revoke-others", RevokeOthersHandler),
    (r"/account/sessions/([^/]+)/revoke", RevokeHandler),
    (r"/account/password", PasswordHandler),
    (r"/account/delete", DeleteHandler),
]
namespaces = [("/account", AccountNamespace)]
