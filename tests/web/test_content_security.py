"""`content_security` of a handler class: what it adds to the site's policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.web.base_handler import BaseHandler
from tests.support.fork import fork
from tests.support.raw import Raw
from tests.support.site import serve


class Page(BaseHandler[Any]):
    def get(self) -> None:
        if self.get_query_argument("fail", ""):
            raise RuntimeError("a bug")
        self.finish("ok")


class Plain(Page):
    pass


class SignIn(Page):
    content_security = {
        "form-action": ("https://id.example.com",),
        "font-src": ["'self'", "https://fonts.example.com"],
        "worker-src": ("blob:",),
        "frame-ancestors": ("https://portal.example.com",),
        "upgrade-insecure-requests": (),
    }


class Below(SignIn):
    pass


class Other(SignIn):
    content_security = {"img-src": ("https://pictures.example.com", "data:")}


ROUTES = [("/plain", Plain), ("/sign-in", SignIn), ("/below", Below), ("/other", Other)]


def directives(policy: str) -> dict[str, list[str]]:
    words = [directive.split() for directive in policy.split("; ")]
    return {name: sources for name, *sources in words}


def header(answer: Any, name: str) -> str | None:
    return next((value for each, value in answer.headers if each.lower() == name.lower()), None)


async def test_a_handler_adds_sources_to_the_policy_of_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For its own pages and their errors; other pages keep the site's policy."""
    modules = fork(monkeypatch, routes=ROUTES)
    async with serve(tmp_path, modules=modules) as site, Raw(site.url) as raw:
        answers = {
            path: await raw.ask(path)
            for path in ("/plain", "/sign-in", "/sign-in?fail=1", "/below", "/other", "/nothing")
        }
    policies = {
        path: directives(header(answer, "Content-Security-Policy") or "")
        for path, answer in answers.items()
    }
    assert answers["/sign-in?fail=1"].status == 500
    plain, sign_in = policies["/plain"], policies["/sign-in"]
    assert policies["/nothing"] == plain
    assert plain["form-action"] == ["'self'"]
    assert plain["frame-ancestors"] == ["'none'"]
    assert sign_in == {
        **plain,
        "form-action": ["'self'", "https://id.example.com"],
        "font-src": ["'self'", "https://fonts.example.com"],
        "worker-src": ["'self'", "blob:"],
        "frame-ancestors": ["https://portal.example.com"],
        "upgrade-insecure-requests": [],
    }
    assert policies["/sign-in?fail=1"] == policies["/below"] == sign_in
    pictures = ["'self'", "data:", "https://pictures.example.com"]
    assert policies["/other"] == {**plain, "img-src": pictures}
    assert header(answers["/plain"], "X-Frame-Options") == "DENY"
    assert header(answers["/sign-in"], "X-Frame-Options") is None


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"form-acton": ("https://a",)}, "'form-acton' is no directive; did you mean form-action?"),
        ({"Img-Src": ("https://a",)}, "'Img-Src' is no directive"),
        ({"xyz": ("https://a",)}, "write one of CSP 3"),
        ({"img-src": "https://a"}, "write a tuple such as ('https://a',)"),
        ({"img-src": ()}, "is empty; name a source"),
        ({"img-src": ("self",)}, "keywords have quotes"),
        ({"img-src": ("'none'",)}, "sources are added to those of the site"),
        ({"img-src": ("https://a; script-src *",)}, "is not one source"),
        ({"img-src": ("https://a,b",)}, "is not one source"),
        ({"img-src": ("https://é",)}, "is not one source"),
        ({"img-src": ("https://a\r\nX: y",)}, "is not one source"),
        ({"img-src": (1,)}, "is not one source"),
        ([("img-src", ("https://a",))], "write a dict"),
    ],
)
def test_what_is_no_policy_is_refused_with_the_class(policy: Any, sentence: str) -> None:
    """When Python reads the class, so the traceback shows its line."""
    with pytest.raises(ValueError) as caught:
        type("Bad", (Page,), {"content_security": policy})
    assert str(caught.value).startswith("Bad.content_security")
    assert sentence in str(caught.value)
