"""The flag --check: whether the program could start with these settings, without starting it.

It changes nothing, and may run while the server runs.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from app.accounts.schema import SCHEMA
from app.common.urls import without_credentials
from app.database import Schema, SchemaError, sqlite
from app.database.engine import not_opened, open_engine
from app.database.migrations import pending
from app.extensions import load_extensions, own_records, schemas
from app.mail.smtp import MailNotSent, MailRefused, Smtp
from app.ops import data_folder
from app.ops.data_folder import FolderBusy
from app.ops.keys import fingerprint, kept_keys, key_file
from app.ops.listening import resolve
from app.optional_tracing import check_packages
from app.settings import MailServer, Settings, SettingsError, config_path, parse_settings
from app.stores import StoreUnavailable
from app.stores.sqlite.database_file import inspect, remedy
from app.web.start_warnings import cookie_warning, hosts_warning

_OK, _NOTE, _FAILED = "ok", "note", "failed"
#: What a check found: ok, note or failed, and words about it.
Finding = tuple[str, str]


def check(arguments: Sequence[str], environ: Mapping[str, str], modules: Sequence[str]) -> int:
    """Print what is found, a line each; return 0 if the program could start, else 1."""
    failed = False
    for what, (state, words) in _findings(arguments, environ, modules):
        print(f"{state:<8}{what:<10}{words}", flush=True)
        failed = failed or state == _FAILED
    return 1 if failed else 0


def _findings(
    arguments: Sequence[str], environ: Mapping[str, str], modules: Sequence[str]
) -> Iterator[tuple[str, Finding]]:
    try:
        extensions = load_extensions(modules)
        tables = [SCHEMA, *schemas(extensions)]
        own = own_records(extensions)
    except Exception as error:  # whatever a module raises when it is imported
        yield "modules", (_FAILED, f"{type(error).__name__}: {error}")
        return
    names = ", ".join(name.removeprefix("handlers.") for name in modules)
    yield "modules", (_OK, names or "none")
    try:
        settings = parse_settings(arguments, environ, own)
        config = config_path(arguments, environ)
    except SettingsError as error:
        yield "settings", (_FAILED, str(error))
        return
    yield "settings", (_OK, f"all are valid; file: {config or 'none'}")
    for warning in (hosts_warning(settings), cookie_warning(settings)):
        if warning is not None:
            yield "settings", (_NOTE, warning)
    for finding in _listening(settings):
        yield "listen", finding
    yield "data", _data_folder(settings.data_dir)
    yield "keys", _keys(settings)
    yield "sessions", _sessions(settings)
    yield "database", _database(settings, tables)
    if settings.tracing:
        yield "tracing", _tracing(settings)
    if settings.mail is not None:
        yield "mail", _mail(settings.mail)


def _listening(settings: Settings) -> Iterator[Finding]:
    for host in settings.host:
        try:
            found = resolve(host)
        except OSError as error:
            yield _FAILED, str(error)
            continue
        for family, address in found:
            yield _address(family, address, settings.port)
    if settings.unix_socket is not None:
        folder = settings.unix_socket.absolute().parent
        if os.access(folder, os.W_OK | os.X_OK):
            yield _OK, f"unix:{settings.unix_socket}"
        else:
            yield _FAILED, f"the folder {folder} is not there or cannot be written"


def _address(family: socket.AddressFamily, address: str, port: int) -> Finding:
    """Look whether an address can be bound; nobody can connect meanwhile."""
    words = f"{address} port {port}"
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)[0][4])
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return _NOTE, f"{words}: {error.strerror}, perhaps by this site, which runs"
            return _FAILED, f"{words}: {error.strerror}; choose another --host or --port"
    return _OK, words


def _data_folder(folder: Path) -> Finding:
    if not folder.exists():
        above = next(path for path in folder.absolute().parents if path.exists())
        if os.access(above, os.W_OK | os.X_OK):
            return _OK, f"{folder} will be made"
        return _FAILED, f"{folder} cannot be made, because {above} cannot be written"
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return _FAILED, f"{folder} is no folder that this user can write; choose another --data-dir"
    if (folder / data_folder.RESTORING).is_dir():
        return _NOTE, f"{folder}: a restore was interrupted; the start completes it"
    try:
        data_folder.use(folder).release()
    except FolderBusy as error:
        return _FAILED, str(error)
    return _OK, str(folder.resolve())


def _keys(settings: Settings) -> Finding:
    try:
        path = key_file(settings.data_dir, settings.secret_key_file)
        kept = kept_keys(path)
    except (ValueError, OSError) as error:
        return (_NOTE if settings.secret_keys else _FAILED), str(error)
    if settings.secret_keys:
        return _OK, f"{len(settings.secret_keys)} of --secret-keys; {len(kept)} in {path}"
    if not kept:
        if os.access(path.parent, os.W_OK | os.X_OK) or path.parent == settings.data_dir:
            return _OK, f"one will be made in {path}"
        return _FAILED, f"{path} cannot be made: its folder is missing or cannot be written"
    return _OK, f"{len(kept)} in {path}; signs: {fingerprint(kept[-1])}"


def _sessions(settings: Settings) -> Finding:
    if settings.shared:
        return _redis(settings.store)
    if settings.store == "memory":
        return _NOTE, "in memory; they end with the process"
    path = settings.data_dir / "sessions.sqlite3"
    if not path.exists():
        return _OK, f"{path} will be made"
    try:
        count, is_current = inspect(path)
    except sqlite3.Error as error:
        return _FAILED, f"{path} could not be read ({error}); {remedy(error)}"
    words = f"{path}: {count} sessions"
    return (_OK, words) if is_current else (_NOTE, f"{words}; a migration is pending")


def _redis(url: str) -> Finding:
    shown = without_credentials(url)
    try:
        client = importlib.import_module("app.stores.redis").RedisClient
    except ImportError as error:
        return _FAILED, f"{shown} needs the package {error.name}; pip install -e '.[redis]'"

    async def connect() -> None:
        redis = client(url)
        try:
            await redis.open()
            await redis.execute("PING")
        finally:
            await redis.close()

    try:
        asyncio.run(connect())
    except (StoreUnavailable, ValueError) as error:
        return _FAILED, str(error)
    return _OK, f"{shown} answers"


def _tracing(settings: Settings) -> Finding:
    """Look for the packages; the start does not need the collector."""
    try:
        check_packages()
    except ValueError as error:
        return _FAILED, str(error)
    return _OK, f"traces go to {without_credentials(settings.tracing)}"


def _mail(server: MailServer) -> Finding:
    """Connect and log in; no mail is sent."""
    try:
        asyncio.run(Smtp(server).check())
    except (MailRefused, MailNotSent) as error:
        return _FAILED, f"{server}: {error}"
    return _OK, f"{server} answers; mails come from {server.sender}"


def _database(settings: Settings, tables: Sequence[Schema]) -> Finding:
    shown = without_credentials(settings.database)
    if settings.database == "sqlite":
        path = settings.data_dir / sqlite.FILE
        if not path.exists():
            return _OK, f"{path} will be made"
        shown = str(path)
    try:
        engine = open_engine(settings, connections=1)
        try:
            behind = pending(engine, tables)
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        return _FAILED, str(not_opened(settings, error))
    except (SchemaError, OSError) as error:
        return _FAILED, str(error)
    if behind:
        return _NOTE, f"{shown}: migrations are pending, which the start runs: {', '.join(behind)}"
    return _OK, f"{shown}: no migration is pending"
