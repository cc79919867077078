"""The child of --reload: it imports the new code, waits for its turn, and serves."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, MutableMapping

from app.ops.listening import Listening

#: The descriptors that the supervisor passes: of the turn, of the answer, and of the sockets.
VARIABLE = "RELOAD_DESCRIPTORS"
READY, GO = b"r", b"g"


class Turn:
    """What ties a child to its supervisor."""

    def __init__(self, descriptors: list[int]) -> None:
        self._turn, self._answer, *sockets = descriptors
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        #: The sockets of the supervisor, to serve from the turn on.
        self.listening = Listening([socket.socket(fileno=each) for each in sockets], inherited=True)
        for sock in self.listening.sockets:
            sock.setblocking(False)

    def wait(self) -> None:
        """Tell that the code is imported, and wait for the turn; end if it does not come."""
        try:
            os.write(self._answer, READY)
        except BrokenPipeError:  # the supervisor stops
            sys.exit(0)
        os.close(self._answer)
        if os.read(self._turn, 1) != GO:
            sys.exit(0)

    def follow(self, stop: Callable[[], None]) -> None:
        """Call `stop` when the supervisor ends the turn or has died; needs a running loop.

        It is no signal, because pdb takes SIGINT for itself. From now on SIGINT reaches this
        process, which must handle it.
        """
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self._turn)
            os.close(self._turn)
            stop()

        loop.add_reader(self._turn, ended)


def find_turn(environ: MutableMapping[str, str]) -> Turn | None:
    """Return the turn if this process is a child; None for any other process."""
    descriptors = environ.pop(VARIABLE, "")
    return Turn([int(word) for word in descriptors.split(",")]) if descriptors else None
