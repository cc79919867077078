"""The command `python -m app`; `app/program.py` is the program."""

import os
import signal
import sys
from types import FrameType


def _exit(number: int, frame: FrameType | None) -> None:
    """End at once, without a traceback: nothing is open yet."""
    serves = not sys.argv[1:] or sys.argv[1].startswith("-")
    os._exit(0 if serves else 128 + number)


def main() -> int:
    """Run the program with the modules and the session data of handlers/."""
    import handlers
    from app.program import run
    from handlers.session import SessionData

    return run(handlers, SessionData)


if __name__ == "__main__":
    # the imports of the program take half a second, and it handles these signals after them
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _exit)
    sys.exit(main())
