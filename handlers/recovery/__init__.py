"""Ways back into an account whose password is lost."""

from handlers.recovery import confirm_address, recover, reset

routes = [*reset.routes, *recover.routes, *confirm_address.routes]
