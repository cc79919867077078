"""The base class of what administrators do with an account."""

from typing import ClassVar

from tornado.web import HTTPError

from app.accounts import Account, AccountInUse, InvalidAccount
from app.web.recent_sign_in import recent_sign_in
from handlers.admin.account import AccountPage
from handlers.admin.admin_page import ADMIN

_MINUTES = 10  # since the administrator has proven who they are
_LAST = "This is the last administrator who may sign in. Name another one first."


class Action(AccountPage):
    """A form on the page of an account; some ask once more before they act.

    A form without the field `confirm` gets a page that asks, a script gets 409.
    """

    #: Names the form, its fields besides `confirm`, and the notice of the page afterwards.
    form: ClassVar[str]
    names: ClassVar[tuple[str, ...]] = ()
    notice: ClassVar[str]
    #: The label of the button that confirms.
    button: ClassVar[str] = ""

    @recent_sign_in(minutes=_MINUTES)
    async def post(self, id: str) -> None:
        account = await self.account(id)
        (confirm,) = self.fields("confirm")
        try:
            question = await self.question(account)
            if question and confirm != "yes":
                self._ask(account, question)
                return
            await self.act(account)
        except InvalidAccount as error:
            await self._refuse(account, 409 if isinstance(error, AccountInUse) else 422, str(error))
        except HTTPError as error:
            await self._refuse(account, error.status_code, error.log_message or "")

    async def question(self, account: Account) -> str:
        """Return what to ask before the action; empty if it needs no confirmation.

        Raises HTTPError if the action is refused.
        """
        return ""

    async def act(self, account: Account) -> None:
        """Do it and answer."""
        raise NotImplementedError

    def done(self, account: Account) -> None:
        """Answer that it was done: a form with the page of the account, a script with 204."""
        self.answer_done(self.account_url(account.id, done=self.notice))

    def is_self(self, account: Account) -> bool:
        """Whether it is the administrator's own account."""
        return account.id == self.session.user_id

    async def check_not_last(self, account: Account) -> None:
        """Raise HTTPError 409 if no administrator is left without this account."""
        if ADMIN not in account.roles or account.disabled is not None:
            return
        if await self.administrators() < 2:
            raise HTTPError(409, _LAST)

    async def administrators(self) -> int:
        """Return how many administrators may sign in."""
        return await self.services.operator.list.count(role=ADMIN, disabled=False)

    def _ask(self, account: Account, question: str) -> None:
        if self.wants_json:
            self.set_status(409)
            self.write({"error": f'{question} Send "confirm": "yes" to do it.'})
            return
        self.show(
            "admin_confirm.html",
            account=account,
            question=question,
            button=self.button,
            fields=dict(zip(self.names, self.fields(*self.names), strict=True)),
        )

    async def _refuse(self, account: Account, status: int, sentence: str) -> None:
        self.set_status(status)
        if self.wants_json:
            self.write({"error": sentence})
        else:
            await self.show_account(account, wrong=sentence, form=self.form)
