"""The account page. A section is a module here, with a line in `sections.py` and one below."""

from handlers.account import delete, devices, password, sign_in_methods
from handlers.account.namespace import namespaces as namespaces

routes = [
    *devices.routes,
    *sign_in_methods.routes,
    *password.routes,
    *delete.routes,
]
