"""Which modules a product serves: the list of upstream, and `local.py` of the fork."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from app.extensions import InvalidModule, load_extensions
from app.module_list import listed
from tests.support.site import serve
from tests.support.visitor import Visitor

_numbers = itertools.count(1)


class Product:
    """A package of modules in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = f"product_{next(_numbers)}"
        self.folder = folder / self.name
        self.write("__init__.py", 'modules = ("counter", "login")')
        monkeypatch.syspath_prepend(str(folder))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def listed(self) -> list[str]:
        """Import the package and return its list, with names relative to it."""
        __import__(self.name)
        names = listed(sys.modules[self.name])
        return [name.removeprefix(f"{self.name}.") for name in names]

    def load(self, *names: str) -> None:
        load_extensions([f"{self.name}.{name}" for name in names])


@pytest.fixture
def product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Product:
    return Product(tmp_path, monkeypatch)


def test_without_local_py_the_list_is_that_of_upstream(product: Product) -> None:
    assert product.listed() == ["counter", "login"]


def test_local_py_adds_modules_and_leaves_some_out(product: Product) -> None:
    """Those of the fork come first, so their routes win; `last` come after all others."""
    product.write(
        "local.py",
        'modules = ("chat", "shop.orders")\nwithout = ("counter",)\nlast = ("spa",)',
    )
    assert product.listed() == ["chat", "shop.orders", "login", "spa"]


@pytest.mark.parametrize(
    ("local", "sentence"),
    [
        ('without = ("conter",)', "leaves out conter, which is not there; did you mean counter?"),
        ('without = ("xyz",)', "leaves out xyz, which is not there; there are counter, login"),
        ('modules = ("chat")', "modules is 'chat'; write modules = (\"chat\",)"),
        ("last = 5", "last is 5; write last ="),
    ],
)
def test_a_wrong_local_py_is_refused(product: Product, local: str, sentence: str) -> None:
    product.write("local.py", local)
    with pytest.raises(InvalidModule) as caught:
        product.listed()
    assert sentence in str(caught.value)
    assert f"{product.name}/local.py" in str(caught.value)


def test_an_error_inside_of_local_py_is_for_its_author(product: Product) -> None:
    product.write("local.py", "import no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        product.listed()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["caht"], "there is no module {0}.caht; did you mean chat?"),
        (["xyz"], "there is no module {0}.xyz; make {0}/xyz.py, or correct the list of modules"),
        (["xyz.orders"], "there is no module {0}.xyz.orders"),
        (["chat", "chat"], "{0}.chat is listed twice"),
    ],
)
def test_a_module_that_does_not_exist_is_refused(
    product: Product, names: list[str], sentence: str
) -> None:
    product.write("chat.py", "")
    with pytest.raises(InvalidModule) as caught:
        product.load(*names)
    assert sentence.format(product.name) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["import no_such_package", "raise ValueError(1)", "from . import x"]
)
def test_an_error_inside_of_a_module_is_for_its_author(product: Product, text: str) -> None:
    """As it is, with its traceback."""
    product.write("chat.py", text)
    with pytest.raises((ImportError, ValueError)) as caught:
        product.load("chat")
    assert not isinstance(caught.value, InvalidModule)


MODULE = """
from handlers.session import BaseHandler


class Page(BaseHandler):
    def get(self) -> None:
        self.render(self.get_query_argument("template"))


routes = [("/{0}", Page), ("/login", Page)]
"""


async def test_templates_of_a_module_come_before_the_common_ones(
    product: Product, tmp_path: Path
) -> None:
    """A package has a folder `templates`; what it lacks comes from the next one."""
    for name in ("first", "second"):
        product.write(f"{name}/__init__.py", MODULE.format(name))
        product.write(f"{name}/templates/both.html", f"both of {name}")
        product.write(f"{name}/templates/{name}/page.html", f'{{% include "part.html" %}} {name}')
        product.write(f"{name}/templates/{name}/part.html", "part of")
    product.write("second/templates/second.html", "only second")
    product.write("second/templates/second/base.html", '{% extends "base.html" %}')
    framed = '{% extends "base.html" %}{% block main %}framed{% include "here.html" %}{% end %}'
    product.write("second/templates/second/framed.html", framed)
    product.write("first/templates/here.html", " here")
    product.write("first/templates/base.html", "<title>shop</title>{% block main %}{% end %}")
    modules = (f"{product.name}.first", f"{product.name}.second", "handlers.sign_in")
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        answers = {
            name: await visitor.get(f"/first?template={name}")
            for name in ("both.html", "second.html", "first/page.html", "second/page.html")
        }
        deep = await visitor.get("/first?template=second/framed.html")
        register = await visitor.get("/register")
        missing = await visitor.get("/second?template=no.html")
    assert {name: text for name, (_, text) in answers.items()} == {
        "both.html": "both of first",
        "second.html": "only second",
        "first/page.html": "part of first",
        "second/page.html": "part of second",
    }
    # the frame is not in the folder of the page
    assert deep == (200, "<title>shop</title>framed here")
    # upstream's page in the fork's frame
    assert register[0] == 200
    assert "<title>shop</title>" in register[1]
    assert 'name="password"' in register[1]
    assert missing[0] == 500


async def test_routes_of_the_first_module_win(product: Product, tmp_path: Path) -> None:
    """So a fork replaces a page by a route of its own."""
    product.write("brand/__init__.py", MODULE.format("brand"))
    product.write("brand/templates/hello.html", "our own sign-in")
    modules = (f"{product.name}.brand", "handlers.sign_in")
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        assert await visitor.get("/login?template=hello.html") == (200, "our own sign-in")
