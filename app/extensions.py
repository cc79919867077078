"""What a module of handlers/ adds to an application."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.database import Schema
from app.database.module_schemas import migrations_folder, module_schemas
from app.hooks import (
    TAKES,
    BeforeHandshake,
    MaySignIn,
    OnAccountChanged,
    OnAccountCreated,
    OnAccountDeleted,
    OnLogin,
    OnSessionEnd,
    OnStart,
    OnStop,
    hook_error,
)
from app.ops.module_metrics import OwnMetrics
from app.services import Services
from app.settings import OwnRecords, SettingsError, check_records, declared
from app.sockets.base_namespace import BaseNamespace


class InvalidModule(ValueError):
    """A module of handlers/ cannot be used; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What one module offers: its attributes of these names."""

    #: The module's dotted name.
    name: str
    #: Folder of templates of a module that is a package.
    template_path: Path | None = None
    #: Routes, as Tornado takes them.
    routes: Sequence[Any] = ()
    #: Names of Socket.IO namespaces and their classes.
    namespaces: Sequence[tuple[str, type[BaseNamespace[Any]]]] = ()
    #: A dataclass of settings, each made by `app.settings.setting`.
    settings: type[Any] | None = None
    #: What the module registers with prometheus_client, or a function that returns it.
    metrics: OwnMetrics | Callable[[Services], OwnMetrics] = ()
    #: Runs before the first request, when the stores are open.
    on_start: OnStart | None = None
    #: Runs after the last request, before the stores close.
    on_stop: OnStop | None = None
    #: Refuses a Socket.IO handshake by raising `tornado.web.HTTPError`.
    before_handshake: BeforeHandshake | None = None
    #: Returns a sentence to refuse a sign-in of this account, or None; every way of signing in
    #: asks it, before and after the session is stored.
    may_sign_in: MaySignIn | None = None
    #: Runs after an account was created, before its first sign-in.
    on_account_created: OnAccountCreated | None = None
    #: Runs after an account was deleted.
    on_account_deleted: OnAccountDeleted | None = None
    #: Runs after an account was changed or deleted, in every process: takes its id.
    on_account_changed: OnAccountChanged | None = None
    #: Runs when a user has signed in.
    on_login: OnLogin | None = None
    #: Runs when a session has ended, in the process that ended it.
    on_session_end: OnSessionEnd | None = None
    #: Tables of its own, which are made or migrated at the start.
    metadata: sa.MetaData | None = None
    #: The folder of their migrations: `migrations` in a package, `NAME_migrations` beside a module.
    migrations: Path | None = None

    @property
    def group(self) -> str:
        """Return the name of its settings: `chat` for handlers.chat."""
        return self.name.rpartition(".")[2].lower()


#: Fields that are no attributes of a module.
_FOUND = frozenset({"name", "template_path", "migrations"})


def load_extensions(names: Sequence[str]) -> list[Extension]:
    """Import the modules with these dotted names and collect what they offer.

    Raises InvalidModule if one does not exist, or if two have the same namespace or setting. An
    error inside of a module is raised as it is.
    """
    twice = {name for name in names if list(names).count(name) > 1}
    if twice:
        raise InvalidModule(f"{min(twice)} is listed twice; remove one of the two")
    extensions = [_load(name) for name in names]
    taken: set[str] = set()
    for extension in extensions:
        for path, _ in extension.namespaces:
            if path in taken:
                raise InvalidModule(
                    f"{extension.name}: another module has namespace {path}; choose another name"
                )
            taken.add(path)
    try:
        check_records(own_records(extensions))
    except ValueError as error:
        raise InvalidModule(str(error)) from None
    return extensions


def own_records(extensions: Sequence[Extension]) -> OwnRecords:
    """Return the dataclasses of the modules that have settings, by the name of the settings."""
    records: dict[str, type[Any]] = {}
    for extension in extensions:
        if extension.settings is not None:
            if extension.group in records:
                raise InvalidModule(
                    f"{extension.name}: another module has settings of the name "
                    f"{extension.group}; give the module another name"
                )
            records[extension.group] = extension.settings
    return records


def own_variables(names: Sequence[str]) -> list[str]:
    """Return the environment variables of the settings of modules; raises SettingsError."""
    try:
        records = own_records(load_extensions(names))
    except InvalidModule as error:
        raise SettingsError(str(error)) from None
    return [each.variable for group, record in records.items() for each in declared(record, group)]


def schemas(extensions: Sequence[Extension]) -> list[Schema]:
    """Return the tables of the modules; raises SchemaError."""
    return module_schemas(
        (extension.name, extension.metadata, extension.migrations) for extension in extensions
    )


def _load(name: str) -> Extension:
    module = _import(name)
    offered = {
        field.name: getattr(module, field.name)
        for field in fields(Extension)
        if field.name not in _FOUND and hasattr(module, field.name)
    }
    for hook in TAKES.keys() & offered.keys():
        if offered[hook] is not None and (error := hook_error(hook, offered[hook])) is not None:
            raise InvalidModule(f"{name}: {error}")
    folders = [Path(path) / "templates" for path in getattr(module, "__path__", ())]
    template_path = next((folder for folder in folders if folder.is_dir()), None)
    return Extension(
        name=name,
        template_path=template_path,
        migrations=migrations_folder(module),
        **offered,
    )


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # an import inside of the module may fail too: that error is for its author
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise InvalidModule(f"there is no module {name}{_did_you_mean(name)}") from None


def _did_you_mean(name: str) -> str:
    """Return the rest of a sentence about a module that is missing."""
    package, _, word = name.rpartition(".")
    try:
        folders = importlib.import_module(package).__path__
    except (ImportError, AttributeError, ValueError):
        return "; correct the list of modules"
    there = [
        path.stem
        for folder in folders
        for path in sorted(Path(folder).iterdir())
        if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    near = difflib.get_close_matches(word, there, n=1)
    return (
        f"; did you mean {near[0]}?"
        if near
        else f"; make {package.replace('.', '/')}/{word}.py, or correct the list of modules"
    )
