"""The account page. A section is a module here, with a line in `sections.py` and one below."""

from handlers.account import (
    address,
    delete,
    devices,
    password,
    personal_data,
    recovery,
    sign_in_methods,
    totp,
    trusted_devices,
    well_known,
)
from handlers.account.namespace import namespaces as namespaces

routes = [
    *devices.routes,
    *sign_in_methods.routes,
    *password.routes,
    *totp.routes,
    *trusted_devices.routes,
    *recovery.routes,
    *address.routes,
    *personal_data.routes,
    *well_known.routes,
    *delete.routes,
]
