"""The base path: the path below which this application is served, such as /app.

Routes are written without it. `request.path` and `request.uri` are as the browser sees them.
"""

from __future__ import annotations

from tornado.httputil import HTTPServerRequest

from app.web.security_headers import SecurityHeaders

#: Paths that are served at the root of the host, too, because clients look for them only there.
OF_THE_HOST = frozenset({"/.well-known/change-password"})


class AddSlashHandler(SecurityHeaders):
    """Redirects from the base path itself to the start page below it."""

    def prepare(self) -> None:
        query = f"?{self.request.query}" if self.request.query else ""
        self.redirect(self.url("/") + query, status=307)


def path_below(base_path: str, request: HTTPServerRequest, *, from_proxy: bool) -> str | None:
    """Return the path of a request below the base path; None if it is outside of it.

    A trusted proxy may remove the base path and say so by X-Forwarded-Prefix. The request then
    gets it back. Any other prefix is ignored, because it could lead browsers to another place.
    """
    path: str = request.path
    if path.startswith(base_path + "/"):
        return path[len(base_path) :]
    prefix = request.headers.get("X-Forwarded-Prefix", "").strip(" \t").rstrip("/")
    if from_proxy and prefix == base_path and path.startswith("/"):
        request.path, request.uri = base_path + path, f"{base_path}{request.uri}"
        return path
    return None
