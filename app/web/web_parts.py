"""The parts of an application that only its pages and handshakes use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.settings import Settings
from app.socketio_client import Script
from app.web.device_cookie import DeviceCookie
from app.web.hosts import Hosts
from app.web.login_cookies import LoginCookies
from app.web.origin import Origins
from app.web.session_cookie import SessionCookie
from app.web.strict_transport import strict_transport


@dataclass(frozen=True, kw_only=True)
class WebParts:
    """Cookies, hosts, origins and the browser's Socket.IO client; handlers have it as `web`."""

    session_cookie: SessionCookie
    device_cookie: DeviceCookie
    login_cookies: LoginCookies
    hosts: Hosts
    trusted_origins: Origins
    frame_ancestors: tuple[str, ...]
    strict_transport: str
    socket_io_script: Script

    def use_keys(self, keys: Sequence[str]) -> None:
        """Sign and verify cookies with these keys from now on, of which the last one signs."""
        for cookie in (self.session_cookie, self.device_cookie, self.login_cookies):
            cookie.use_keys(keys)


def web_parts(settings: Settings, keys: Sequence[str], script: Script) -> WebParts:
    """Build the parts; `keys` sign the cookies, the newest one last."""
    session_cookie = SessionCookie(settings, keys)
    return WebParts(
        session_cookie=session_cookie,
        device_cookie=DeviceCookie(session_cookie, settings.cookie_name, keys),
        login_cookies=LoginCookies(session_cookie, settings.cookie_name, keys),
        hosts=Hosts(settings.allowed_hosts),
        trusted_origins=Origins(settings.trusted_origins),
        frame_ancestors=settings.frame_ancestors,
        strict_transport=strict_transport(settings),
        socket_io_script=script,
    )
