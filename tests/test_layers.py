"""Who may import whom, read from the source: nobody has to remember it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module may import modules of the rows above its own, and of its own package. A name stands
# for its submodules too: "app.stores" is app.stores.sqlite as well.
LAYERS = (
    ("app.background", "app.guard"),
    (
        "app.options",
        "app.complaints",
        "app.user_agents",
        "app.surrogates",
        "app.lookalikes",
        "app.histogram",
        "app.systemd",
        "app.unknown_fields",
        "app.clock",
        "app.data_folder",
        "app.file_identity",
        "app.sqlite_health",
        "app.readiness",
    ),
    ("app.audit", "app.listeners"),
    ("app.settings", "app.codec", "app.origin", "app.hosts", "app.assets", "app.passwords"),
    ("app.postgresql",),
    ("app.database",),
    ("app.stores", "app.forwarded", "app.limits", "app.accounts", "app.transport"),
    ("app.cookie", "app.keys", "app.cross_site"),
    ("app.known_device", "app.security"),
    ("app.gate",),
    ("app.edit",),
    ("app.session",),
    ("app.lifetimes",),
    ("app.sessions",),
    ("app.services", "app.connections", "app.metrics"),
    (
        "app.clients",
        "app.lookup",
        "app.expiry",
        "app.presence",
        "app.process_number",
        "app.redis_rooms",
        "app.devices",
        "app.modules",
    ),
    ("app.ends", "app.device_news"),
    ("app.base_handler", "app.base_namespace", "app.base_websocket", "app.handshake"),
    ("handlers",),
    ("app.shared",),
    ("app.application",),
    ("app.backup",),
    ("app.__main__",),
)
WEB = ("tornado", "socketio", "engineio")

# Calls that make something that can change later. An instance of a class of ours counts neither
# way here, nor does a memo (functools.cache): both need a reviewer, not a list.
# fmt: off
MUTABLE_CALLS = frozenset({
    "dict", "list", "set", "bytearray", "defaultdict", "deque", "OrderedDict", "Counter",
    "ChainMap", "array", "SimpleNamespace", "WeakKeyDictionary", "WeakValueDictionary", "WeakSet",
    "Lock", "RLock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Queue", "SimpleQueue",
    "LifoQueue", "PriorityQueue", "count", "ThreadPoolExecutor",
})
# fmt: on
MUTABLE_DISPLAYS = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)


def module_name(path: Path) -> str:
    """Return the dotted name under which a file of this repository is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(path): path
    for folder in ("app", "handlers")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
CORE = [
    name
    for name in MODULES
    if name in ("app.session", "app.codec") or name.split(".")[:2] == ["app", "stores"]
]


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Walk the nodes that run, which leaves out `if TYPE_CHECKING:`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if only_for_types(node) and child in node.body:  # type: ignore[attr-defined]
            continue
        yield from running(child)


def imports(name: str, source: ast.Module) -> set[str]:
    """Return the dotted names that a module imports when it runs, at its top or in a function."""
    package = name if MODULES[name].stem == "__init__" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in running(source):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            # `from app import expiry` imports a module, `from app.expiry import Expiry` a name
            found.update(
                full if (full := f"{base}.{alias.name}") in MODULES else base
                for alias in node.names
            )
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found.update(
                argument.value
                for argument in node.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )
    return found


def reached(name: str) -> set[str]:
    """Return everything that is imported in the course of importing this module."""
    seen: set[str] = set()
    waiting = {name}
    while waiting:
        module = waiting.pop()
        seen.add(module)
        wanted = imports(module, tree(module)) if module in MODULES else set()
        # to import a.b.c is to import a and a.b first
        waiting |= wanted | {parent for parent in [module.rpartition(".")[0]] if parent}
        waiting -= seen
    return seen - {name}


def place(name: str) -> tuple[int, str] | None:
    """Return the row in LAYERS and the entry there that cover a module."""
    for row, entries in enumerate(LAYERS):
        for entry in entries:
            if name == entry or name.startswith(entry + "."):
                return row, entry
    return None


def too_high(name: str, source: ast.Module) -> list[str]:
    """Return sentences about imports that point up or sideways."""
    here = place(name)
    if here is None:
        return [f"{name} has no place yet: put it into a row of LAYERS in tests/test_layers.py"]
    return [
        f"{name} imports {wanted}, which stands on the same row of LAYERS or below it"
        for wanted in sorted(imports(name, source))
        if (there := place(wanted)) and there[0] >= here[0] and there[1] != here[1]
    ]


def call_name(node: ast.expr) -> str:
    """Return the last name of what a call calls: deque for collections.deque[int](…)."""
    func = node.func if isinstance(node, ast.Call) else node
    while isinstance(func, ast.Subscript):
        func = func.value
    return ast.unparse(func).rpartition(".")[2]


def can_change(value: ast.expr) -> bool:
    """Whether this expression makes something that can change after it was made."""
    if isinstance(value, ast.Call):
        return call_name(value) in MUTABLE_CALLS
    if isinstance(value, ast.Tuple):
        return any(can_change(element) for element in value.elts)
    if isinstance(value, ast.BinOp):
        return can_change(value.left) or can_change(value.right)
    return isinstance(value, MUTABLE_DISPLAYS)


def mutable_state(body: list[ast.stmt]) -> list[str]:
    """Return what is assigned here, outside of functions, that can change later.

    What counts: a dict, list, set, queue, lock and the like, shown or called for, bound to any
    name but a __dunder__ in a module or class body; and a `global` statement anywhere.
    """
    found: list[str] = []
    for statement in body:
        found += [
            f"global {', '.join(node.names)}"
            for node in ast.walk(statement)
            if isinstance(node, ast.Global)
        ]
        found += _assigned(statement)
    return found


def _assigned(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return []
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [ast.unparse(target) for target in targets]
        if node.value is None or not can_change(node.value):
            return []
        return [name for name in names if not (name.startswith("__") and name.endswith("__"))]
    return [name for child in ast.iter_child_nodes(node) for name in _assigned(child)]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_stands_before_it(name: str) -> None:
    """stores, cookie <- session <- connections, expiry, base <- handlers <- application."""
    if name not in ("app", "handlers") or imports(name, tree(name)):
        assert too_high(name, tree(name)) == []


@pytest.mark.parametrize("name", CORE)
def test_the_core_does_no_web_input_or_output(name: str) -> None:
    """Session, codec and stores reach neither Tornado nor Socket.IO, on no way round either."""
    web = {module for module in reached(name) if module.split(".")[0] in WEB}
    assert not web, f"{name} must work without a web server, but it comes to import {web}"


@pytest.mark.parametrize(
    "name", [name for name in MODULES if name.split(".")[:2] == ["app", "transport"]]
)
def test_the_transport_knows_no_sessions(name: str) -> None:
    """The transport carries connections; whose they are is decided above it."""
    reach = {module for module in reached(name) if module.startswith("app.")}
    known = {module for module in reach if module.startswith(("app.session", "app.stores"))}
    assert not known, f"{name} comes to import {known}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "app"])
def test_no_module_of_app_keeps_state(name: str) -> None:
    """make_app builds everything, so that a test can build ten applications."""
    found = mutable_state(tree(name).body)
    assert not found, (
        f"{name} keeps {found} for the whole process; make it a tuple, a frozenset or a "
        "MappingProxyType, or give it to an object that make_app builds"
    )


@pytest.mark.parametrize("entry", [entry for row in LAYERS for entry in row])
def test_the_table_of_layers_names_only_what_exists(entry: str) -> None:
    """A module that went away leaves no gap behind in the table."""
    assert entry in MODULES


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("cache = {}", ["cache"]),
        ("cache: dict[str, int] = dict()", ["cache"]),
        ("import collections\nwaiting = collections.deque[int]()", ["waiting"]),
        ("pair = (1, [])", ["pair"]),
        ("if True:\n    names = [*'ab']", ["names"]),
        ("class A:\n    seen = set()", ["seen"]),
        ("def f():\n    global n\n    n = 1", ["global n"]),
        ("__all__ = ['f']", []),
        ("names = ('a', 'b')\nmost = frozenset({1})", []),
        ("from types import MappingProxyType\nwords = MappingProxyType({'a': 1})", []),
        ("def f():\n    local = {}", []),
    ],
)
def test_mutable_state_is_recognised(source: str, found: list[str]) -> None:
    """Each line shows what counts as state of a module, or what does not."""
    assert mutable_state(ast.parse(source).body) == found


@pytest.mark.parametrize(
    ("source", "name", "found"),
    [
        ("import app.expiry", "app.cookie", "app.expiry"),
        ("from app import expiry", "app.cookie", "app.expiry"),
        ("from .expiry import Expiry", "app.cookie", "app.expiry"),
        ("from . import expiry", "app.cookie", "app.expiry"),
        ("from ..session import Session", "app.stores.memory", "app.session"),
        ("def f():\n    from app.session import Session", "app.cookie", "app.session"),
        ("import importlib\nimportlib.import_module('app.expiry')", "app.cookie", "app.expiry"),
    ],
)
def test_an_import_that_points_up_is_found(source: str, name: str, found: str) -> None:
    """However it is written, an import of a later layer is refused."""
    (sentence,) = too_high(name, ast.parse(source))
    assert sentence.startswith(f"{name} imports {found},")


def test_a_new_module_needs_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is not in the table is refused with a sentence that says what to do."""
    monkeypatch.setitem(MODULES, "app.stray", ROOT / "app" / "stray.py")
    (sentence,) = too_high("app.stray", ast.parse(""))
    assert "put it into a row of LAYERS" in sentence
