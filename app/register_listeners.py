"""All listeners: who is told when a user signs in, an account changes, a session gets a new id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from app.accounts import Account
from app.extensions import Extension
from app.hooks import OnAccountChanged, with_services
from app.optional_cluster import Cluster
from app.services import Services
from app.session_end_listeners import session_end_listeners
from app.sessions.clock import Clock
from app.sessions.manager import Sessions
from app.sessions.periodic_expiry import Expiry
from app.sessions.replacements import Replacement
from app.sockets.connections import Connections


def register_listeners(
    services: Services,
    connections: Connections,
    clock: Clock,
    cluster: Cluster | None,
    extensions: Sequence[Extension],
) -> None:
    """Register every listener; the listeners of an event run in this order."""
    sessions, expiry, watchers = services.sessions, services.expiry, services.device_watchers
    clusters = [cluster] if cluster else []
    # a session ends
    sessions.on_end += session_end_listeners(services, connections, cluster, extensions)
    # a session of a user gets a new id, by this process or another one
    sessions.replacements.on_replaced += [
        connections.follow,  # first of all, and without a wait
        lambda replacement: sessions.lifetimes.activity.forget(replacement.old_id),
        lambda replacement: _check_soon(expiry, connections, replacement),
    ]
    # a user is about to sign in
    services.sign_in.may_sign_in += [
        with_services(extension.may_sign_in, services)
        for extension in extensions
        if extension.may_sign_in is not None
    ]
    # a proven account may not sign in
    services.sign_in.on_refused.append(services.counters.sign_in_refused)
    # a user has signed in
    services.on_login += [
        services.counters.signed_in,
        watchers.signed_in,  # account pages of the user add a row
        *(other.signed_in for other in clusters),
        *(extension.on_login for extension in extensions if extension.on_login is not None),
    ]
    # an administrator has signed in as a user, of which `on_login` is not told
    services.impersonation.on_begin += [
        watchers.signed_in,
        *(other.signed_in for other in clusters),
    ]
    # an account is stored, or deleted
    services.accounts.on_created += [
        with_services(extension.on_account_created, services)
        for extension in extensions
        if extension.on_account_created is not None
    ]
    services.accounts.on_deleted += [
        lambda account: _end_user(sessions, account),  # sign-ins while it was deleted
        lambda account: services.accounts.on_changed.tell(account.id),
        *(
            with_services(extension.on_account_deleted, services)
            for extension in extensions
            if extension.on_account_deleted is not None
        ),
    ]
    # something happens to an account
    services.audit.on_event += [services.audit_trail.add]
    # an account was changed or deleted, at this process or another one
    services.on_account_changed += [
        services.roles.forget,  # the next event reads them
        services.role_sockets.account_changed,  # those that need a lost role leave
        watchers.changed,  # account pages of the user are told
        services.impersonation.account_changed,
        *(
            _with_services(extension.on_account_changed, services)
            for extension in extensions
            if extension.on_account_changed is not None
        ),
    ]
    # an account was changed or deleted at this process
    services.accounts.on_changed += [
        services.on_account_changed.tell,
        *(other.account_changed for other in clusters),
    ]
    # a connection opens, closes or changes its transport
    connections.on_change += [
        watchers.connections_changed,  # account pages of the user change the row
        *(other.connections_changed for other in clusters),
    ]
    # the system's clock is set
    clock.on_step += [
        sessions.lifetimes.activity.follow_step,
        lambda seconds: expiry.hold(),  # until other processes have followed
    ]
    # another process tells of an end, a sign-in or a connection; Redis comes back after an outage
    for other in clusters:
        other.join(sessions, expiry, watchers, services.on_account_changed.tell)


def _check_soon(expiry: Expiry, connections: Connections, replacement: Replacement) -> None:
    """Let the next round find a session that has ended while its connections went on under it."""
    if connections.count(replacement.new_id):
        expiry.watch(replacement.new_id, 0.0)


def _with_services(hook: OnAccountChanged, services: Services) -> Callable[[str], Any]:
    """Return a listener that calls a hook with the id of an account, and the services."""
    return lambda account_id: hook(account_id, services)


async def _end_user(sessions: Sessions[Any], account: Account) -> None:
    await sessions.end_user(account.id)
