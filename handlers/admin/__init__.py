"""The operator's pages, for accounts with the role `admin`, and signing in as another user."""

from handlers.admin import account, accounts, actions, impersonation, overview, role_actions
from handlers.admin.namespace import namespaces as namespaces
from handlers.admin.namespace import on_account_changed as on_account_changed

routes = [
    *overview.routes,
    *accounts.routes,
    *account.routes,
    *actions.routes,
    *role_actions.routes,
    *impersonation.routes,
]
