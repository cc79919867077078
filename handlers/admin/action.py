"""The base class of what administrators do with an account."""

from typing import ClassVar

from tornado.web import HTTPError

from app.accounts import Account, InvalidAccount
from app.web.recent_sign_in import recent_sign_in
from handlers.admin.account import AccountPage
from handlers.proof_again import PROOF_MINUTES
from handlers.refusal import refusal


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

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def post(self, id: str) -> None:
        account = await self.account(id)
        (confirm,) = self.fields("confirm")
        try:
            question = await self.question(account)
            if question and confirm != "yes":
                self._ask(account, question)
                return
            await self.act(account)
        except (InvalidAccount, HTTPError) as error:
            await self._refuse(account, *refusal(self, error))

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
