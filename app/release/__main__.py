"""The command `python3 -m app.release`: upgrade a site, and go back."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from app.release import actions
from app.release.errors import Interrupted, Stopped, StoppedHalfway, WrongCall
from app.release.options import add_flags, read_options

_OK, _STOPPED, _WRONG_CALL, _HALFWAY = 0, 1, 2, 3


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, 1 if the old release serves on, 2 for a wrong call, 3 if neither.

    3 asks for the operator: `resume` and `rollback` both go on from there.
    """
    os.umask(0o022)  # the processes run as another user and read the release
    _handle_signals()
    given = _parser().parse_args(arguments)
    try:
        given.action(given, read_options(given))
    except WrongCall as error:
        return _complain(str(error), _WRONG_CALL)
    except Stopped as error:
        return _complain(str(error), _STOPPED)
    except Interrupted as error:
        return _complain(f"{error}; nothing was changed", _STOPPED)
    except StoppedHalfway as error:
        return _complain(
            f"the change to {error} is halfway. Look at the log of the processes, then run "
            "resume to go on, or rollback to go back",
            _HALFWAY,
        )
    except OSError as error:
        return _complain(str(error), _STOPPED)
    return _OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m app.release",
        description="Go to another release, process by process, and back.",
        epilog="Exit codes: 0; 1 it stopped, and the release before serves; 2 wrong call; "
        "3 it stopped halfway: run resume or rollback.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="upgrade|rollback|resume|list")
    for name, action, text in (
        ("upgrade", actions.upgrade, "build a release beside the old one, check it, and go to it"),
        ("rollback", actions.rollback, "go back to the release before, or out of a half change"),
        ("resume", actions.resume, "go on with a change that was interrupted"),
        ("list", actions.list_releases, "list the releases"),
    ):
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.set_defaults(action=action)
        add_flags(made)
        if name == "upgrade":
            made.add_argument(
                "revision", nargs="?", default="", help="tag, branch or commit (default: HEAD)"
            )
            made.add_argument(
                "--dry-run", action="store_true", help="build and check, and change nothing"
            )
        if name != "list":
            made.add_argument(
                "--no-restart",
                action="store_true",
                help="restart no process; those that start later run the new release",
            )
        if name == "rollback":
            made.add_argument("release", nargs="?", default="", help="name (default: previous)")
            made.add_argument(
                "--downgrade",
                action="store_true",
                help="take migrations back that the older release does not know, with their data",
            )
    return parser


def _handle_signals() -> None:
    """Let Ctrl-C and SIGTERM stop the command in good order; a terminal that is gone does not."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):  # the way back is not interrupted
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted("interrupted")

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, interrupt)


def _complain(sentence: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(f"release: {sentence}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
