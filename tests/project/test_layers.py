"""Who may import whom, read from the source: nobody has to remember it."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

# What each room of app/ may import besides itself: packages, and files beside them.
ROOMS: dict[str, tuple[str, ...]] = {
    "app.common": (),
    "app.socketio_client": (),
    "app.settings": (),
    "app.transport": ("app.common",),
    "app.stores": ("app.common",),
    "app.sessions": ("app.common", "app.stores"),
    "app.devices": ("app.common", "app.sessions", "app.stores"),
    "app.database": ("app.common", "app.settings", "app.stores"),
    "app.accounts": ("app.common", "app.database", "app.settings", "app.stores"),
    "app.health": ("app.common", "app.settings"),
    "app.rate_limits": ("app.common", "app.settings"),
    "app.ops": ("app.accounts", "app.common", "app.sessions", "app.settings", "app.stores"),
    "app.operator": (
        *("app.accounts", "app.common", "app.database", "app.devices", "app.ops"),
        *("app.sessions", "app.stores"),
    ),
    "app.sign_in": ("app.accounts", "app.common", "app.ops", "app.sessions", "app.stores"),
    "app.impersonation": (
        *("app.accounts", "app.common", "app.ops", "app.sessions", "app.sign_in", "app.stores"),
    ),
    "app.mail": ("app.common", "app.settings"),
    "app.account_mail": (
        *("app.accounts", "app.common", "app.devices", "app.rate_limits", "app.mail", "app.ops"),
    ),
    "app.recovery": (
        *("app.account_mail", "app.accounts", "app.rate_limits", "app.ops", "app.sessions"),
        "app.stores",
    ),
    "app.jobs": ("app.common",),
    "app.presence": ("app.common", "app.stores"),
    "app.role_sockets": ("app.accounts", "app.common", "app.database"),
    "app.services": (
        *("app.account_mail", "app.accounts", "app.common", "app.database", "app.devices"),
        *("app.impersonation", "app.jobs", "app.mail", "app.operator", "app.ops"),
        "app.rate_limits",
        *("app.presence", "app.recovery", "app.role_sockets", "app.sessions", "app.settings"),
        *("app.sign_in", "app.transport"),
    ),
    "app.web": (
        *("app.accounts", "app.socketio_client", "app.common", "app.database", "app.rate_limits"),
        *("app.services", "app.sessions", "app.settings", "app.sign_in", "app.stores"),
        "app.transport",
    ),
    "app.sockets": (
        *("app.accounts", "app.common", "app.database", "app.rate_limits", "app.services"),
        "app.sessions",
        *("app.stores", "app.transport", "app.web"),
    ),
    "app.cluster": (
        *("app.common", "app.jobs", "app.ops", "app.presence", "app.sessions", "app.stores"),
        "app.transport",
    ),
    "app.open_store": ("app.settings", "app.stores"),
    "app.hooks": ("app.accounts", "app.services", "app.sessions", "app.sockets"),
    "app.extensions": (
        *("app.accounts", "app.database", "app.hooks", "app.ops", "app.services", "app.sessions"),
        *("app.settings", "app.sign_in", "app.sockets"),
    ),
    "app.module_list": ("app.extensions",),
    "app.module_start_and_stop": ("app.common", "app.services", "app.settings"),
    "app.lifecycle": (
        *("app.common", "app.ops", "app.services", "app.settings", "app.module_start_and_stop"),
        *("app.stores", "app.transport", "app.web"),
    ),
    "app.optional_cluster": (
        *("app.cluster", "app.common", "app.devices", "app.lifecycle", "app.ops"),
        "app.presence",
        "app.sessions",
        *("app.settings", "app.sockets", "app.stores", "app.transport"),
    ),
    "app.register_metrics": ("app.ops", "app.optional_cluster", "app.services", "app.stores"),
    "app.tracing": ("app.common", "app.stores"),
    "app.optional_tracing": ("app.lifecycle", "app.settings", "app.stores", "app.tracing"),
    "app.session_end_listeners": (
        *("app.extensions", "app.optional_cluster", "app.services", "app.sessions", "app.sockets"),
        "app.stores",
    ),
    "app.register_listeners": (
        *("app.accounts", "app.extensions", "app.hooks", "app.optional_cluster", "app.services"),
        *("app.session_end_listeners", "app.sessions", "app.sockets"),
    ),
    "app.application": (
        *("app.accounts", "app.socketio_client", "app.common", "app.devices", "app.extensions"),
        *("app.jobs", "app.lifecycle", "app.open_store", "app.ops", "app.rate_limits"),
        "app.register_listeners",
        *("app.account_mail", "app.mail", "app.recovery"),
        *("app.optional_cluster", "app.optional_tracing", "app.register_metrics"),
        *("app.presence", "app.services"),
        *("app.sessions", "app.settings"),
        *("app.role_sockets", "app.sign_in", "app.sockets"),
        *("app.emit", "app.impersonation", "app.operator"),
        *("app.module_start_and_stop", "app.stores", "app.transport", "app.web"),
    ),
    "app.console": (
        *("app.accounts", "app.application", "app.common", "app.extensions", "app.ops"),
        *("app.settings", "app.stores"),
    ),
    "app.backup": (
        *("app.accounts", "app.common", "app.database", "app.ops", "app.settings", "app.stores"),
    ),
    "app.emit": ("app.common", "app.ops", "app.sessions", "app.settings", "app.stores"),
    "app.check": (
        *("app.accounts", "app.common", "app.database", "app.extensions", "app.mail", "app.ops"),
        *("app.optional_tracing", "app.settings", "app.stores", "app.web"),
    ),
    "app.release": ("app.common",),
    "app.reload": ("app.common", "app.ops", "app.settings"),
    "app.program": (
        *("app.application", "app.backup", "app.common", "app.extensions"),
        *("app.module_list", "app.ops"),
        *("app.reload", "app.settings", "app.module_start_and_stop", "app.stores"),
        *("app.check", "app.console"),
    ),
    "app.testing": (
        *("app.accounts", "app.application", "app.module_list", "app.services", "app.sessions"),
        *("app.settings", "app.stores", "handlers"),
    ),
}
# The packages inside of the transport and of the stores.
TRANSPORT: dict[str, tuple[str, ...]] = {
    "app.transport.http": (),
    "app.transport.engineio": ("app.transport.http",),
    "app.transport.socketio": ("app.transport.engineio",),
}
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
    if name.split(".")[:2] in (["app", "sessions"], ["app", "stores"])
    if not name.endswith("__main__")  # the commands of operators
]


def tree(name: str) -> ast.Module:
    """Return the syntax tree of a module; trees that are kept slow each garbage collection."""
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@functools.cache
def imported(name: str) -> frozenset[str]:
    """Return the dotted names that a module of this repository imports."""
    return frozenset(imports(name, tree(name)))


def imports(name: str, source: ast.Module) -> set[str]:
    """Return the dotted names that a module imports: at its top, in a function, or for types."""
    package = name if MODULES[name].stem == "__init__" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            # `from app.web import origin` imports a module, `from app.web.origin import A` a name
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
        wanted = imported(module) if module in MODULES else frozenset()
        # to import a.b.c is to import a and a.b first
        waiting |= wanted | {parent for parent in [module.rpartition(".")[0]] if parent}
        waiting -= seen
    return seen - {name}


def entry(name: str, table: dict[str, tuple[str, ...]]) -> str | None:
    """Return the entry of a table that covers a module."""
    return next((room for room in table if f"{name}.".startswith(f"{room}.")), None)


def forbidden(name: str, names: Iterable[str]) -> list[str]:
    """Return sentences about those of a module's imports that the tables do not allow."""
    if name.split(".")[0] != "app" or name == "app" or name.endswith("__main__"):
        return []
    if entry(name, ROOMS) is None:
        return [f"{name} has no room yet: add it to ROOMS in tests/project/test_layers.py"]
    return [
        f"{name} imports {wanted}, which {room} may not import"
        for table in (ROOMS, TRANSPORT)
        if (room := entry(name, table)) is not None
        for wanted in sorted(set(names) - {"app"})  # which holds the version only
        if (other := entry(wanted, table) or wanted.split(".")[0]) not in (room, *table[room])
        and other.split(".")[0] in ("app", "handlers")
        and (table is ROOMS or other in TRANSPORT)
        and "app" not in table[room]
    ]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of names that reach each other."""
    reaching = {name: _reaching(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in reaching[name] if name in reaching.get(other, ())))
        for name in graph
    }
    return sorted(list(group) for group in groups if len(group) > 1)


def _reaching(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = {start}
    while waiting:
        name = waiting.pop()
        new = graph.get(name, set()) - seen
        seen |= new
        waiting |= new
    return seen


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


def test_no_import_is_for_types_only() -> None:
    """An import under TYPE_CHECKING hides that two files need each other; a Protocol shows it."""
    assert [
        name
        for name, path in MODULES.items()
        if "TYPE_CHECKING" in path.read_text(encoding="utf-8")
    ] == []


def test_a_module_imports_only_what_its_room_may_import() -> None:
    """Imports for types and inside of functions count too."""
    assert [found for name in MODULES for found in forbidden(name, imported(name))] == []


@pytest.mark.parametrize("room", [room for room in ROOMS if MODULES[room].stem == "__init__"])
def test_a_room_says_what_it_may_import(room: str) -> None:
    """In its docstring: `Imports a, b and c.`, as the table has them."""
    text = ast.get_docstring(tree(room)) or ""
    (said,) = re.findall(r"\bImports ([^.]+)\.", text)
    names = set(re.split(r",\s+|\s+and\s+", said))
    allowed = {name.removeprefix("app.") for name in ROOMS[room]}
    assert names == (allowed or {"nothing else of app"})


def test_no_files_import_each_other() -> None:
    """Where two files need each other, the lower one states a Protocol."""
    graph = {
        name: {wanted for wanted in imported(name) if wanted in MODULES and wanted != name}
        for name in MODULES
    }
    assert circles(graph) == []


@pytest.mark.parametrize("table", [ROOMS, TRANSPORT], ids=["rooms", "transport"])
def test_no_rooms_import_each_other(table: dict[str, tuple[str, ...]]) -> None:
    """Rooms come one after the other, and so do the packages of the transport."""
    graph: dict[str, set[str]] = {room: set() for room in table}
    for name in MODULES:
        room = entry(name, table)
        if room is not None and not name.endswith("__main__"):
            others = {entry(wanted, table) for wanted in imported(name)}
            graph[room] |= {other for other in others if other not in (None, room)}
    assert circles(graph) == []


def test_the_core_does_no_web_input_or_output() -> None:
    """Session, codec and stores reach neither Tornado nor Socket.IO, on no way round either."""
    found = {
        name: {module for module in reached(name) if module.split(".")[0] in WEB} for name in CORE
    }
    assert {name: web for name, web in found.items() if web} == {}


def test_the_transport_knows_no_sessions() -> None:
    """The transport carries connections; whose they are is decided above it."""
    found = {
        name: {
            module
            for module in reached(name)
            if module.startswith(("app.sessions.session", "app.stores"))
        }
        for name in MODULES
        if name.split(".")[:2] == ["app", "transport"]
    }
    assert found
    assert {name: known for name, known in found.items() if known} == {}


def test_no_module_of_app_keeps_state() -> None:
    """make_app builds everything, so that a test can build ten applications.

    What a module keeps becomes a tuple, a frozenset or a MappingProxyType, or belongs to an
    object that make_app builds.
    """
    found = {
        name: mutable_state(tree(name).body) for name in MODULES if name.split(".")[0] == "app"
    }
    assert found
    assert {name: kept for name, kept in found.items() if kept} == {}


def test_the_tables_name_only_what_exists() -> None:
    """A room that went away leaves no gap behind in the tables."""
    assert {*ROOMS, *TRANSPORT} - MODULES.keys() == set()


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
        ("import app.web.origin", "app.sessions.codec", "app.web.origin"),
        ("from app.web import origin", "app.sessions.codec", "app.web.origin"),
        ("from ..web.origin import Origins", "app.sessions.codec", "app.web.origin"),
        ("from app import rate_limits", "app.sessions.codec", "app.rate_limits"),
        ("from ..sessions.session import Session", "app.stores.memory", "app.sessions.session"),
        ("def f():\n    from app.web.origin import A", "app.sessions.codec", "app.web.origin"),
        ("if TYPE_CHECKING:\n    import app.rate_limits", "app.sessions.codec", "app.rate_limits"),
        ("import handlers.session", "app.sessions.codec", "handlers.session"),
        (
            "import importlib\nimportlib.import_module('app.web.origin')",
            "app.sessions.codec",
            "app.web.origin",
        ),
        (
            "from app.transport.socketio import packets",
            "app.transport.http.head",
            "app.transport.socketio.packets",
        ),
    ],
)
def test_a_forbidden_import_is_found(source: str, name: str, found: str) -> None:
    """However it is written, an import that the room may not have is refused."""
    (sentence,) = forbidden(name, imports(name, ast.parse(source)))
    assert sentence.startswith(f"{name} imports {found},")


def test_a_circle_is_found() -> None:
    """Longer ones too."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert circles(graph) == [["a", "b", "c"]]


def test_a_new_module_needs_a_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is in no table is refused with a sentence that says what to do."""
    monkeypatch.setitem(MODULES, "app.stray", ROOT / "app" / "stray.py")
    (sentence,) = forbidden("app.stray", ())
    assert "add it to ROOMS" in sentence
