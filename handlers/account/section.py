"""The base class of the sections of the account page and of their forms."""

from typing import Any, ClassVar

from app.sessions.session import SessionEnded
from app.web.errors import TooManyRequests
from handlers.account.sections import SECTIONS, Section
from handlers.session import BaseHandler
from handlers.times import iso, when

#: What a page says after a form: the sentence for the query `done=NAME`.
NOTICES = (
    ("device", "That device is signed out."),
    ("address sent", "A link is on its way to this address. Open it to confirm the address."),
    ("address removed", "Your address is removed."),
    ("others", "You are signed out everywhere else."),
    ("totp-on", "Two-step sign-in is on: from now on you are asked for a code."),
    ("totp-off", "Two-step sign-in is off: you are asked for no code any more."),
    ("forgotten", "From now on you are asked for a code there."),
    (
        "password",
        "Your password is changed, and you are signed out everywhere else. Your recovery codes are "
        "void; make new ones.",
    ),
)


class AccountSection(BaseHandler):
    """A section, or a form of it. A subclass has `section`, `template` and `content`."""

    page = "/account"
    section: ClassVar[Section]
    template: ClassVar[str]

    @property
    def user(self) -> str:
        """Name of the user, in methods that require a sign-in."""
        if self.session.user is None:
            raise SessionEnded(self.session.id)
        return self.session.user

    @property
    def user_id(self) -> str:
        """Id of the user's account, in methods that require a sign-in."""
        if self.session.user_id is None:
            raise SessionEnded(self.session.id)
        return self.session.user_id

    async def prepare(self) -> None:
        await super().prepare()
        user_id = self.session.user_id
        if user_id is not None and (wait := await self.services.limits.account_page(user_id)):
            raise TooManyRequests(wait, "too many requests for your account page")

    async def content(self) -> dict[str, Any]:
        """Return the names that the template of this section uses."""
        return {}

    def as_json(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return the section as a script gets it, besides `user` and `user_id`."""
        return {}

    async def show(self, *, form: str = "", wrong: str = "") -> None:
        """Write the section, or its content as JSON; `wrong` is the error of the form `form`."""
        self.set_header("Cache-Control", "no-store")
        content = await self.content()
        if self.wants_json:
            self.write({"user": self.user, "user_id": self.user_id, **self.as_json(content)})
            return
        self.render(
            self.template,
            sections=SECTIONS,
            section=self.section,
            now=int(self.services.sessions.clock()),
            notice=dict(NOTICES).get(self.get_query_argument("done", ""), ""),
            form=form,
            wrong=wrong,
            iso=iso,
            when=when,
            **content,
        )

    def audit(self, event: str, *, reason: str = "") -> None:
        """Log an event of this user, and the administrator who acts as the user."""
        self.services.audit.add(
            event,
            user=self.user,
            address=self.remote_address,
            reason=reason,
            user_id=self.user_id,
            actor=self.session.actor,
        )

    def done(self, what: str) -> None:
        """Answer that a change was made: a form with the section, a script with 204."""
        self.answer_done(self.url(self.section.path, done=what))
