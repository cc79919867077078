"""The Content-Security-Policy of responses (CSP 3): the site's, and what a handler adds."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence

#: What a handler adds, checked: directives and their sources.
Additions = tuple[tuple[str, tuple[str, ...]], ...]

_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")
_SOURCE = re.compile(r"[!-+\--:<-~]+")  # printable ASCII without space, comma and semicolon
_KEYWORDS = ("self", "unsafe-inline", "unsafe-eval", "strict-dynamic", "wasm-unsafe-eval")
_BARE = frozenset({"sandbox", "upgrade-insecure-requests"})  # directives that may have no value
# fmt: off
_DIRECTIVES = _BARE | frozenset({
    "default-src", "child-src", "connect-src", "font-src", "frame-src", "img-src", "manifest-src",
    "media-src", "object-src", "script-src", "script-src-elem", "script-src-attr", "style-src",
    "style-src-elem", "style-src-attr", "worker-src", "base-uri", "form-action",
    "frame-ancestors", "report-uri", "report-to", "require-trusted-types-for", "trusted-types",
})
# fmt: on
# which directive a browser follows where this one is missing (CSP 3, 6.8.3)
_FALLBACKS = (
    ("script-src-elem", "script-src"),
    ("script-src-attr", "script-src"),
    ("style-src-elem", "style-src"),
    ("style-src-attr", "style-src"),
    ("worker-src", "script-src"),
)


def checked(owner: str, additions: Mapping[str, Sequence[str]]) -> Additions:
    """Return the `content_security` of a handler class; raises ValueError with a sentence."""
    if not isinstance(additions, Mapping):
        raise ValueError(
            f"{owner}.content_security is {additions!r}; write a dict such as "
            '{"form-action": ("https://id.example.com",)}'
        )
    for directive, sources in additions.items():
        if directive not in _DIRECTIVES:
            near = difflib.get_close_matches(str(directive), sorted(_DIRECTIVES), n=1)
            remedy = f"did you mean {near[0]}?" if near else "write one of CSP 3, such as img-src"
            raise ValueError(f"{owner}.content_security: {directive!r} is no directive; {remedy}")
        _check_sources(f"{owner}.content_security[{directive!r}]", directive, sources)
    return tuple((directive, tuple(sources)) for directive, sources in additions.items())


def _check_sources(where: str, directive: str, sources: Sequence[str]) -> None:
    if isinstance(sources, str) or not isinstance(sources, Sequence):
        raise ValueError(f"{where} is {sources!r}; write a tuple such as ({sources!r},)")
    if not sources and directive not in _BARE:
        raise ValueError(f"{where} is empty; name a source, or leave the directive out")
    for source in sources:
        if source in _KEYWORDS:
            raise ValueError(f"{where} has {source!r}; keywords have quotes: \"'{source}'\"")
        if source == "'none'":
            raise ValueError(f"{where} has 'none'; sources are added to those of the site")
        if not isinstance(source, str) or not _SOURCE.fullmatch(source):
            raise ValueError(f"{where} has {source!r}, which is not one source of ASCII characters")


@functools.lru_cache(256)
def content_security_policy(
    host: str,
    secure: bool,
    scripts: tuple[str, ...],
    ancestors: tuple[str, ...] = (),
    additions: Additions = (),
) -> str:
    """Return a policy that allows own scripts and styles, `scripts`, and sockets to `host`.

    `ancestors` are the sources whose pages may frame this site, and `additions` what a handler
    allows besides. The policy names the host because `'self'` does not include WebSockets in older
    browsers.
    """
    socket = (f"{'wss' if secure else 'ws'}://{host}",) if _HOST.fullmatch(host) else ()
    policy: dict[str, tuple[str, ...]] = {
        "default-src": (),
        "object-src": (),
        "script-src": ("'self'", *scripts),
        "style-src": ("'self'",),
        "img-src": ("'self'", "data:"),
        "connect-src": ("'self'", *socket),
        "form-action": ("'self'",),
        "frame-ancestors": ancestors,
        "base-uri": (),
    }
    fallbacks = dict(_FALLBACKS)
    for directive, sources in additions:
        present = policy.get(directive, policy.get(fallbacks.get(directive, ""), ()))
        policy[directive] = tuple(dict.fromkeys((*present, *sources)))
    return "; ".join(_written(directive, sources) for directive, sources in policy.items())


def _written(directive: str, sources: tuple[str, ...]) -> str:
    if not sources and directive in _BARE:
        return directive
    return " ".join((directive, *(sources or ("'none'",))))
