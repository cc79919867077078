"""An error that Redis has answered with."""

from __future__ import annotations

import re

_CODE_IN_SCRIPT = re.compile(r"@user_script: \d+: -([A-Z]+) ")
_PLACE_IN_SCRIPT = re.compile(r"\.? script: [0-9a-f]{40}, on @user_script:\d+")


class ReplyError(Exception):
    """Redis answered with an error; the message begins with its code, as in `NOSCRIPT …`.

    Redis 6.2 puts the code of a command inside of a script further back:
    `ERR … @user_script: 5: -READONLY …`.
    """

    @property
    def code(self) -> str:
        message = str(self)
        inner = _CODE_IN_SCRIPT.search(message)
        return inner[1] if inner else message.partition(" ")[0]

    @property
    def sentence(self) -> str:
        """The message without the hash of the script and the line in it."""
        message = str(self)
        inner = _CODE_IN_SCRIPT.search(message)
        if inner:
            message = message[inner.start(1) :]
        return _PLACE_IN_SCRIPT.sub("", message).rstrip(".")
