"""The command `keys` of the control socket: which keys the running processes accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from app.ops.control import Command, CommandFailed
from app.ops.key_follower import KeyFollower
from app.ops.keys import description
from app.stores import StoreError


class Cluster(Protocol):
    """The processes over one Redis."""

    async def accepted_keys(self) -> list[tuple[str, str]]:
        """Return the number of each running process, and the `description` of its keys."""
        ...


def keys_command(process_number: int, follower: KeyFollower, cluster: Cluster | None) -> Command:
    """Return the command; its result has each process and the fingerprints of its keys.

    The last fingerprint is that of the key that signs.
    """

    async def keys(arguments: Mapping[str, Any]) -> dict[str, Any]:
        found = [(str(process_number), description(follower.keys))]
        if cluster is not None:
            try:
                found = await cluster.accepted_keys()
            except StoreError as error:
                raise CommandFailed(f"the other processes cannot be asked: {error}") from None
        return {
            "processes": [
                {"number": number, "keys": keys.split(",")} for number, keys in sorted(found)
            ]
        }

    return keys
