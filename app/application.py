"""`make_app` builds the parts of an application; `app.register_listeners` connects them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.account_mail import AccountMail
from app.accounts import (
    Accounts,
    AuditTrail,
    Emails,
    OldNames,
    OneTimeLinks,
    PasswordReset,
    RecoveryCodes,
    Roles,
    Totp,
    TrustedDevices,
    open_database,
)
from app.common.listeners import Listeners
from app.common.rate_limited_log import RateLimitedLog
from app.common.rates import ProcessRate
from app.devices import Devices, Watchers
from app.emit.command import emit_command
from app.extensions import Extension, load_extensions, own_records, schemas
from app.impersonation import Impersonation
from app.jobs import Jobs
from app.lifecycle import Application
from app.mail import Mail
from app.module_start_and_stop import StartAndStop
from app.open_store import open_store
from app.operator import Operator, operator_commands
from app.ops import data_folder
from app.ops.audit import Audit
from app.ops.control import Command, ControlSocket, socket_path
from app.ops.counters import Counters
from app.ops.key_follower import KeyFollower
from app.ops.keys import check_last_key, signing_keys
from app.ops.keys_command import keys_command
from app.ops.loop_lag import LoopLag
from app.ops.metrics import Metrics
from app.ops.readiness import Readiness
from app.ops.site_counts import Counts, SiteCounts
from app.ops.stall_log import StallLog
from app.ops.survey import Survey
from app.ops.systemd import Watchdog
from app.optional_cluster import Cluster, open_cluster
from app.optional_tracing import Tracing, open_tracing
from app.presence import Presence
from app.rate_limits import Limits
from app.recovery import Recovery
from app.register_listeners import register_listeners
from app.register_metrics import register_metrics
from app.role_sockets import RoleSockets
from app.services import Services
from app.sessions.clock import Clock, SteadyClock
from app.sessions.manager import Sessions
from app.sessions.periodic_expiry import Expiry
from app.sessions.session import Session
from app.settings import Settings, complete
from app.sign_in import SignIn
from app.socketio_client import CDN_SCRIPT, client_script
from app.sockets.connections import Connections
from app.sockets.handshake import HandshakeHandler
from app.sockets.namespaces import Namespaces
from app.stores import SessionStore
from app.stores.counted import CountedStore, StoreCounts
from app.stores.readiness_check import StoreCheck
from app.transport import Listener, SocketServer
from app.web.application import WebApplication
from app.web.template_folders import TemplateFolders
from app.web.web_parts import web_parts

__all__ = ["Application", "NoData", "make_app"]


class NoData(msgspec.Struct):
    """The data of sessions that hold nothing."""


def make_app(
    settings: Settings,
    *,
    modules: Sequence[str] = (),
    data_type: type[msgspec.Struct] = NoData,
    template_path: Path | None = None,
    static_path: Path | None = None,
    clock: Clock | None = None,
    store: SessionStore | None = None,
    serves: bool = True,
) -> Application:
    """Build an application from its settings; call it on a running loop.

    `modules` are the dotted names of modules that offer pages and sockets (see
    `app.extensions`), `data_type` is the record that each session holds, and the paths are the
    folders of /static/ and of templates, which come after those of modules. `clock` and `store`
    are for tests. Without `serves` the application is for a command, which reaches the stores and
    signs no cookie. Raises FileOwned, FolderBusy, StoreUnavailable, ValueError or OSError with a
    sentence that says what to do.
    """
    extensions = load_extensions(modules)
    settings = complete(settings, own_records(extensions))
    clock = clock or SteadyClock()
    settings.make_data_dir()
    folder_lock = data_folder.use(settings.data_dir)
    keys = signing_keys(settings)
    if serves:
        check_last_key(settings, keys)
    cluster = open_cluster(settings) if settings.shared else None
    counters, store_counts, loop_lag = Counters(), StoreCounts(), LoopLag(Watchdog().feed)
    tracing = open_tracing(settings) if serves else None
    opened = store or open_store(settings, cluster)
    if tracing is not None:
        opened = tracing.traced(opened)
    connections = Connections(on_session_end=settings.on_session_end)
    counted = CountedStore(opened, store_counts)
    database = open_database(settings, schemas(extensions))
    accounts = Accounts(database)
    roles, links, codes = Roles(accounts), OneTimeLinks(accounts), RecoveryCodes(accounts)
    totp = Totp(accounts, clock)
    sessions = _build_sessions(
        settings, counted, store_counts, data_type, clock, connections, accounts
    )
    server = _build_server(settings, connections, counters, cluster, tracing)
    presence = cluster.presence(connections, keys) if cluster else connections
    devices = Devices(sessions, presence)
    audit, outage_log = Audit(), RateLimitedLog(logging.getLogger("latchkey.outages"))
    texts = TemplateFolders.of(_template_paths(extensions, template_path))
    mail = Mail(settings, texts, counters.mails)
    emails = Emails(accounts)
    limits = Limits(settings, cluster.make_rate if cluster else ProcessRate)
    account_mail = AccountMail(mail, accounts, links, emails, audit, limits)
    audit_trail = AuditTrail(database, days=settings.audit_days)
    on_login: Listeners[[Session[Any]]] = Listeners("a login")
    sign_in = SignIn(
        sessions,
        accounts,
        audit,
        outage_log,
        on_login,
        max_sessions_per_user=settings.max_sessions_per_user,
    )
    readiness = Readiness({"store": StoreCheck(counted).works, "database": accounts.answers})
    services = Services(
        settings=settings,
        sessions=sessions,
        database=database,
        accounts=accounts,
        roles=roles,
        one_time_links=links,
        recovery_codes=codes,
        emails=emails,
        mail=mail,
        account_mail=account_mail,
        recovery=Recovery(
            PasswordReset(accounts, links, codes, totp), accounts, sessions, audit, account_mail
        ),
        totp=totp,
        trusted_devices=TrustedDevices(accounts, clock),
        role_sockets=RoleSockets(roles),
        limits=limits,
        socket_server=server,
        connections=connections,
        presence=Presence(server.made.find, cluster.users if cluster else None),
        expiry=Expiry(sessions, connections, interval=settings.expiry_interval),
        devices=devices,
        device_watchers=Watchers(devices),
        counters=counters,
        site_counts=SiteCounts(
            lambda: _counts(counters, connections), cluster.counts if cluster else None
        ),
        metrics=Metrics(Survey(readiness, counted.stored)),
        loop_lag=loop_lag,
        stall_log=StallLog(loop_lag),
        readiness=readiness,
        audit=audit,
        audit_trail=audit_trail,
        operator=Operator(
            *(database, accounts, roles, sessions, devices, audit, audit_trail, links),
            *(totp, codes, settings.public_link, account_mail.two_step_changed),
        ),
        jobs=Jobs(cluster.repeat if cluster else None),
        client_log=RateLimitedLog(logging.getLogger("latchkey.clients")),
        outage_log=outage_log,
        on_login=on_login,
        on_account_changed=Listeners("a changed account"),
        sign_in=sign_in,
        impersonation=Impersonation(sessions, accounts, sign_in, audit),
    )
    register_listeners(services, connections, clock, cluster, extensions)
    register_metrics(services, connections, store_counts, cluster)
    _register_namespaces(services, extensions)
    _add_metrics(services, extensions)
    script = CDN_SCRIPT if static_path is None else client_script(static_path, settings.base_path)
    parts = web_parts(settings, keys, script)
    web = WebApplication(
        services,
        parts,
        [route for extension in extensions for route in extension.routes],
        socket_handler=HandshakeHandler,
        socket_options=_socket_options(server, extensions),
        template_paths=_template_paths(extensions, template_path),
        static_path=static_path,
        trace=tracing.page if tracing else None,
    )
    if tracing is not None:
        for pool in (*accounts.calls.workers, database.workers):
            pool.on_call = tracing.database_call
    follower = KeyFollower(settings, keys)
    # the file of keys has changed
    follower.on_change += [parts.use_keys, *([cluster.use_keys] if cluster else [])]
    commands = _commands(services, follower, cluster)
    return Application(
        services,
        web,
        folder_lock=folder_lock,
        modules=StartAndStop(extensions),
        key_follower=follower,
        control=ControlSocket(socket_path(settings.data_dir, settings.process_number), commands),
        commands=commands,
        cluster=cluster,
        tracing=tracing,
    )


def _commands(
    services: Services, follower: KeyFollower, cluster: Cluster | None
) -> dict[str, Command]:
    """Return the commands that operators and scripts have, by name."""
    server = services.socket_server
    return {
        "keys": keys_command(services.settings.process_number, follower, cluster),
        "emit": emit_command(server, server.made.exists),
        **operator_commands(services.operator),
    }


def _counts(counters: Counters, connections: Connections) -> Counts:
    """Return what this process has, and what it did since it began."""
    return Counts(
        connections=len(connections),
        sessions=len(connections.session_ids()),
        events=counters.handled_events,
        sign_ins=counters.sign_ins,
    )


def _build_sessions(
    settings: Settings,
    store: CountedStore,
    counts: StoreCounts,
    data_type: type[msgspec.Struct],
    clock: Clock,
    connections: Connections,
    accounts: Accounts,
) -> Sessions[Any]:
    return Sessions(
        store,
        data_type,
        idle_timeout=settings.session_idle_timeout,
        max_age=settings.session_max_age,
        new_timeout=settings.new_session_timeout,
        clock=clock,
        counts=counts,
        connected=lambda session_id: connections.count(session_id) > 0,
        old_users=OldNames(accounts),
    )


def _build_server(
    settings: Settings,
    connections: Connections,
    counters: Counters,
    cluster: Cluster | None,
    tracing: Tracing | None,
) -> SocketServer:
    listener = Listener(
        opened=connections.opened,
        upgraded=connections.upgraded,
        closed=connections.closed,
        event_failed=counters.event_failed,
    )
    rooms = cluster.rooms if cluster else None
    around = tracing.event if tracing else None
    return SocketServer(settings, listener=listener, client_manager=rooms, around_event=around)


def _register_namespaces(services: Services, extensions: Sequence[Extension]) -> None:
    """Give the socket server the namespaces of the modules."""
    namespaces = services.socket_server.made.factory = Namespaces(services)
    for extension in extensions:
        for path, namespace in extension.namespaces:
            namespaces.add(path, namespace)


def _add_metrics(services: Services, extensions: Sequence[Extension]) -> None:
    """Show the metrics of the modules on /metrics."""
    for extension in extensions:
        own = extension.metrics
        services.metrics.add(extension.name, own(services) if callable(own) else own)


def _socket_options(server: SocketServer, extensions: Sequence[Extension]) -> dict[str, Any]:
    """Return what the handler of the Socket.IO endpoint needs."""
    hooks = [extension.before_handshake for extension in extensions if extension.before_handshake]
    return {"engine": server.engine, "before_handshake": hooks}


def _template_paths(extensions: Sequence[Extension], common: Path | None) -> list[Path]:
    """Return the folders of templates: those of modules, which may replace common ones, first."""
    paths = (*(extension.template_path for extension in extensions), common)
    return [path for path in paths if path is not None]
