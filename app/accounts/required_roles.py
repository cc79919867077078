"""The roles that a page, a namespace or an event needs: any of them is enough."""

from __future__ import annotations

from collections.abc import Collection

from app.accounts.roles import check_role

#: As a handler says it: one role, or several of which a user needs one.
RoleRequired = str | Collection[str]


def required_roles(roles: RoleRequired) -> frozenset[str]:
    """Return the roles of which a user needs one; none if nothing is required.

    Raises InvalidRole, a ValueError.
    """
    if isinstance(roles, str):
        roles = (roles,)
    return frozenset(check_role(role) for role in roles)


def refusal(needed: frozenset[str]) -> str:
    """Return the sentence for a user who has none of these roles."""
    return f"Only users with the role {' or '.join(sorted(needed))} may do that."
