"""The page that a sign-in leads to: the address in its field `next`."""

import re
import string
from urllib.parse import quote


def safe_target(target: str, home: str = "/") -> str:
    """Return the path and query to redirect to, or `home` if they could lead to another site.

    `home` is the path of the start page; below a base path, other paths are other sites. Browsers
    read "//host" and "/\\host" as another site, and drop tabs and line ends first.
    """
    if not target.startswith(home) or target[1:2] in ("/", "\\"):
        return home
    if any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in target):
        return home
    if home != "/" and _leaves(target):
        return home
    return quote(target, safe=string.punctuation)


def _leaves(target: str) -> bool:
    """Whether a path has a segment "..", which browsers resolve; they read "%2e" as "."."""
    path = re.split(r"[?#]", target)[0].lower().replace("%2e", ".").replace("\\", "/")
    return ".." in path.split("/")
