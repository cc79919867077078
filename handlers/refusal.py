"""What a form shows beside it when it is refused."""

from tornado.web import HTTPError, RequestHandler

from app.accounts import AccountInUse, AccountsUnavailable, InvalidAccount, LastAdministrator
from app.rate_limits import in_words
from app.web.errors import TooManyRequests, sentence_of

#: What refuses a form.
Refused = InvalidAccount | AccountsUnavailable | HTTPError


def refusal(handler: RequestHandler, error: Refused) -> tuple[int, str]:
    """Return status and sentence of an error, and say in a header when to try again."""
    if isinstance(error, InvalidAccount):
        conflict = isinstance(error, AccountInUse | LastAdministrator)
        return 409 if conflict else 422, str(error)
    if isinstance(error, AccountsUnavailable):
        handler.set_header("Retry-After", str(error.wait))
        return error.status, str(error)
    if isinstance(error, TooManyRequests):
        handler.set_header("Retry-After", str(error.wait))
        return 429, f"Too many tries; wait {in_words(error.wait)} and try again."
    return error.status_code, sentence_of(error)
