"""The site that a command acts on: a running process of the data folder, else its stores."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from app.console.errors import Failed, WrongCall
from app.console.product import LoadProduct
from app.ops.control import CommandFailed
from app.ops.control_client import NoProcess, ProcessHangs, call
from app.settings import SettingsError, is_shared, read_some

_TIMEOUT = 120.0  # seconds for one answer; all sessions of a user may have to end


class Parts(Protocol):
    """The parts of a site in this process."""

    def call(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Run a command of the control socket here; raises CommandFailed."""
        ...

    def close(self) -> None:
        """Close the stores."""


class Site:
    """Runs commands of the control socket, wherever the site is; use it in a `with` block.

    A process of the data folder does them. If there is none, the stores are opened here: files
    that no process owns, or the Redis and the PostgreSQL of a site that runs elsewhere.
    """

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], load: LoadProduct
    ) -> None:
        """`arguments` are flags of settings. Raises WrongCall."""
        self._arguments, self._environ, self._load = arguments, environ, load
        read = self.settings("store", "data_dir", "database")
        self.data_dir: Path = read["data_dir"]
        self._store: str = read["store"]
        self._database: str = read["database"]
        self._own: Parts | None = None

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._own is not None:
            self._own.close()

    def call(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its result; raises Failed or WrongCall."""
        try:
            if self._own is None:
                try:
                    return call(self.data_dir, command, arguments, timeout=_TIMEOUT)
                except (NoProcess, ProcessHangs) as error:
                    # the files of a process that hangs are still its own
                    if isinstance(error, ProcessHangs) and not is_shared(self._store):
                        raise
                    self._own = self._open(command)
            return self._own.call(command, arguments)
        except CommandFailed as error:
            raise Failed(_explained(str(error), command)) from None

    def settings(self, *names: str) -> dict[str, Any]:
        """Return these settings of the site, by field; raises WrongCall."""
        try:
            return read_some(names, self._arguments, self._environ)
        except SettingsError as error:
            raise WrongCall(str(error)) from None

    def call_running(self, command: str, **arguments: Any) -> Any:
        """Have a process of the data folder run a command; None if there is none. Raises Failed."""
        try:
            return call(self.data_dir, command, arguments, timeout=_TIMEOUT)
        except NoProcess:
            return None
        except CommandFailed as error:
            raise Failed(_explained(str(error), command)) from None

    def _open(self, command: str) -> Parts:
        if self._store == "memory" and command.startswith("sessions."):
            raise Failed(
                f"no process of the data folder {self.data_dir} answers, and with --store memory "
                "only that process knows its sessions"
            )
        flags = [*self._arguments]
        if is_shared(self._store) and self._database != "sqlite":
            # nothing of the site is in a folder of this host
            folder = tempfile.TemporaryDirectory(prefix="latchkey-")
            flags.append(f"--data-dir={folder.name}")
        else:
            folder = None
            if not self.data_dir.is_dir():
                raise Failed(f"there is no data folder {self.data_dir}; name it by --data-dir")
        if is_shared(self._store):
            # nothing is signed
            flags += ["--secret-key-file=", f"--secret-keys={secrets.token_urlsafe(32)}"]
        # the server's own imports take a second, and a running process makes them needless
        from app.console.own_parts import OwnParts

        return OwnParts(flags, self._environ, self._load, folder)


def _explained(sentence: str, command: str) -> str:
    if sentence.startswith("unknown command"):
        return (
            f"the running process knows no command {command}: it is of an older release; "
            "restart it, or use the commands of that release"
        )
    return sentence
