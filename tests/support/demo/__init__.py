"""The application that tests serve: a counter of their own, beside the account pages of handlers/.

It has its own session data, so a fork may change or remove the counter of handlers/.
"""

MODULES = (
    "tests.support.demo.counter",
    "handlers.sign_in",
    "handlers.reauthenticate",
    "handlers.signed_in",
    "handlers.account",
    "handlers.admin",
    "handlers.recovery",
    "handlers.password_strength",
    "handlers.health",
)
