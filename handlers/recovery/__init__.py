"""Ways back into an account whose password is lost."""

from handlers.recovery import recover, reset

routes = [*reset.routes, *recover.routes]
