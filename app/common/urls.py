"""URLs as people may read them."""

from __future__ import annotations


def without_credentials(url: str) -> str:
    """Return a URL without its user, password and parameters; another string as it is."""
    scheme, slashes, rest = url.partition("://")
    return scheme + slashes + rest.partition("?")[0].rpartition("@")[2]
