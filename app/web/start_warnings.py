"""Warnings at the start: hosts that are not served, cookies that browsers do not send."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from app.settings import Settings


def hosts_warning(settings: Settings) -> str | None:
    """Return a warning if a proxy is trusted and no host name is served, else None."""
    if settings.allowed_hosts or not settings.trusted_proxies:
        return None
    return (
        "only IP addresses and localhost are served, any other Host gets 421: "
        "name the hosts of this site in --allowed-hosts"
    )


def cookie_warning(settings: Settings) -> str | None:
    """Return a warning if browsers send no cookie from pages of a configured origin, else None.

    Browsers send a cookie to another site only with SameSite=None and Secure (RFC 6265bis, 5.6.7).
    """
    named = [*settings.trusted_origins, *settings.frame_ancestors]
    foreign = [origin for origin in named if _is_foreign(origin, settings.allowed_hosts)]
    if not foreign:
        return None
    problem = f"browsers send no session cookie from pages of {foreign[0]}, which is another site"
    if settings.cookie_samesite != "none":
        return f"{problem}: set --cookie-samesite none, and serve https"
    if settings.cookie_secure == "auto" and not settings.trusted_proxies:
        return (
            f"{problem}, unless the cookie is Secure: name the proxy that speaks https in "
            "--trusted-proxies, or set --cookie-secure yes"
        )
    return None


def _is_foreign(origin: str, hosts: tuple[str, ...]) -> bool:
    """Return whether this origin certainly belongs to another site than these hosts."""
    scheme, _, authority = origin.partition("://")
    if scheme.endswith("-extension") or origin == "'self'":
        return False  # an extension may have the permission to send cookies
    if scheme not in ("http", "https"):
        return True
    host = urlsplit(f"//{authority}").hostname or ""
    if _is_local(host):
        return False  # during development the server is probably on the same machine
    return _site(host) not in {_site(name) for name in hosts}


def _is_local(host: str) -> bool:
    """Return whether a host is `localhost`, a name below it, or an IP address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _site(host: str) -> str:
    """Return the last two labels; names below a suffix such as co.uk would need three."""
    return ".".join(host.rstrip(".").split(".")[-2:])
