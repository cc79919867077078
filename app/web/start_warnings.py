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
    own = _own_names(settings)
    foreign = [origin for origin in named if _is_foreign(origin, settings.allowed_hosts)]
    foreign += _foreign_local([origin for origin in named if _is_local_origin(origin)], own)
    if not foreign:
        return None
    problem = f"browsers send no session cookie from pages of {foreign[0]}, which is another site"
    if settings.cookie_samesite != "none":
        if _is_local_origin(foreign[0]) and any(_is_local(name) for name in own):
            host = _host(foreign[0])
            host = f"[{host}]" if ":" in host else host
            return (
                f"{problem} than {', '.join(own)}: call this server as {host} too, where only the "
                f"port may differ, and set --allowed-hosts {host}"
            )
        return f"{problem}: set --cookie-samesite none, and serve https"
    if settings.cookie_secure == "auto" and not settings.trusted_proxies:
        return (
            f"{problem}, unless the cookie is Secure: name the proxy that speaks https in "
            "--trusted-proxies, or set --cookie-secure yes"
        )
    return None


def _is_foreign(origin: str, hosts: tuple[str, ...]) -> bool:
    """Return whether this origin, which is not local, belongs to another site than these hosts."""
    scheme = origin.partition("://")[0]
    if scheme.endswith("-extension") or origin == "'self'" or _is_local_origin(origin):
        return False  # an extension may have the permission to send cookies
    if scheme not in ("http", "https"):
        return True
    return _site(_host(origin)) not in {_site(name) for name in hosts}


def _foreign_local(origins: list[str], own: tuple[str, ...]) -> list[str]:
    """Return those of these local origins whose host is not one by which browsers know the server.

    `localhost` and 127.0.0.1 are two sites. A list that also has an origin of the right host, or a
    server whose names are not known, gives nothing.
    """
    if not own or any(_matches(_host(origin), own) for origin in origins):
        return []
    return origins


def _own_names(settings: Settings) -> tuple[str, ...]:
    """Return the host names by which browsers know this server; none if that is not known.

    Behind a proxy these are the allowed hosts, else also the addresses on which it listens.
    """
    proxied = settings.trusted_proxies or settings.unix_socket is not None
    names = (*settings.allowed_hosts, *(() if proxied else settings.host))
    return () if {"*", "0.0.0.0", "::"} & {*names} else tuple(dict.fromkeys(names))  # noqa: S104


def _matches(host: str, names: tuple[str, ...]) -> bool:
    return any(
        host == name.strip("[]") or (name.startswith("*.") and host.endswith(name[1:]))
        for name in (name.lower() for name in names)
    )


def _is_local_origin(origin: str) -> bool:
    return origin.startswith(("http://", "https://")) and _is_local(_host(origin))


def _host(origin: str) -> str:
    """Return the host of an origin, an IPv6 address without brackets."""
    return urlsplit(f"//{origin.partition('://')[2]}").hostname or ""


def _is_local(host: str) -> bool:
    """Return whether a host is `localhost`, a name below it, or an IP address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _site(host: str) -> str:
    """Return the last two labels; names below a suffix such as co.uk would need three."""
    return ".".join(host.rstrip(".").split(".")[-2:])
