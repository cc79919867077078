"""The operator's pages: `/admin`, and signing in as another user."""

from handlers.admin import impersonation

routes = [*impersonation.routes]
