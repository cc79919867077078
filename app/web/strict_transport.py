"""The header Strict-Transport-Security (RFC 6797)."""

from __future__ import annotations

from app.settings import Settings


def strict_transport(settings: Settings) -> str:
    """Return the value of the header, for responses by https."""
    parts = [f"max-age={settings.hsts_max_age}"]
    if settings.hsts_scope != "host":
        # the list of the browsers takes a host with all its subdomains only
        parts.append("includeSubDomains")
    if settings.hsts_scope == "preload":
        parts.append("preload")
    return "; ".join(parts)
