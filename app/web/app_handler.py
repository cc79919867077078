"""The base class of every handler: the parts of its application, and facts of its client."""

from __future__ import annotations

from urllib.parse import urlencode

from tornado.template import BaseLoader
from tornado.web import RequestHandler

from app.services import Services
from app.web.template_folders import TemplateFolders
from app.web.web_parts import WebParts


class AppHandler(RequestHandler):
    """A Tornado handler that reaches the parts of its application."""

    @property
    def services(self) -> Services:
        """The parts that pages and sockets share."""
        services: Services = self.application.settings["services"]
        return services

    @property
    def web(self) -> WebParts:
        """The parts that only pages and handshakes use."""
        web: WebParts = self.application.settings["web"]
        return web

    def url(self, path: str, **query: str) -> str:
        """Return the address of a path of this application, with --base-path and this query.

        `self.url("/login", next="/app/chat")` is `/app/login?next=%2Fapp%2Fchat` below /app.
        """
        base: str = self.application.settings["base_path"]
        return base + path + (f"?{urlencode(query)}" if query else "")

    @property
    def request_id(self) -> str:
        """Id of this request, as the log and the response have it; a trusted proxy may give it."""
        return self.request.headers["X-Request-ID"]

    @property
    def secure(self) -> bool:
        """Whether the browser came by https, as far as the connection or a trusted proxy tells."""
        return self.request.protocol == "https"

    @property
    def remote_address(self) -> str:
        """Address of the client, behind trusted proxies too."""
        return self.request.remote_ip or ""

    @property
    def user_agent(self) -> str:
        """User-Agent header of the client, which may contain anything."""
        return self.request.headers.get("User-Agent", "")

    def create_template_loader(self, template_path: str) -> BaseLoader:
        """Return a loader of templates from several folders (Tornado calls this once)."""
        return TemplateFolders(template_path)
