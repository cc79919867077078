"""What `python3 -m app.release` can do."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from app.release.build import add_client, compile_code, install_packages
from app.release.change import Change
from app.release.errors import Stopped, WrongCall
from app.release.journal import Journal
from app.release.options import Options
from app.release.output import Output
from app.release.processes import Processes
from app.release.program import Program
from app.release.releases import Releases
from app.release.source import Source


def upgrade(given: argparse.Namespace, options: Options) -> None:
    """Build a release, check it, and go to it."""
    releases, output = _site(options)
    with releases.alone():
        _refuse_half_change(releases)
        source = Source(Path(options.source or Path(options.root) / "source"), given.revision)
        name = _build(source, releases, options, output)
        journal = Journal("upgrade", releases.current, name)
        change = _change(journal, releases, options, output, given)
        change.check()
        if given.dry_run:
            output.step("done", f"{name} could serve; nothing was changed")
            return
        change.run()
        output.step("done", _served(name, options, given))
        for old in releases.prune(options.keep):
            output.step("removed", old)


def rollback(given: argparse.Namespace, options: Options) -> None:
    """Go back to the release before, or take a change back that was interrupted."""
    releases, output = _site(options)
    with releases.alone():
        journal = Journal.load(releases.root)
        if journal is not None:
            output.step("rollback", f"the {journal.kind} to {journal.to} was interrupted")
            _change(journal, releases, options, output, given).undo()
            return
        name = releases.find(given.release) if given.release else releases.previous
        if name is None:
            raise WrongCall("there is no release before; name one of `list`")
        if name == releases.current:
            raise WrongCall(f"{name} is the release that serves")
        journal = Journal("rollback", releases.current, name)
        journal.downgrades = _newer_tables(name, options)
        if journal.downgrades and not given.downgrade:
            listed = ", ".join(journal.downgrades)
            raise Stopped(
                f"{name} does not know the newest migration of {listed}. What that added is lost "
                "if it is taken back; to do so, add --downgrade. Nothing was changed"
            )
        change = _change(journal, releases, options, output, given)
        if not journal.downgrades:
            change.check()
        change.run()
        output.step("done", _served(name, options, given))


def resume(given: argparse.Namespace, options: Options) -> None:
    """Go on with a change that was interrupted."""
    releases, output = _site(options)
    with releases.alone():
        journal = Journal.load(releases.root)
        if journal is None:
            raise WrongCall("no upgrade was interrupted")
        output.step("resume", f"the {journal.kind} to {journal.to}")
        _change(journal, releases, options, output, given).run()
        output.step("done", _served(journal.to, options, given))


def list_releases(given: argparse.Namespace, options: Options) -> None:
    """List the releases, the newest first."""
    releases = Releases(Path(options.root))
    marks = {releases.previous: "previous", releases.current: "current"}
    for name in reversed(releases.names()):
        about = releases.about(name)
        print(f"{marks.get(name, ''):<9} {name}  {about.get('revision', '')}".rstrip())
    journal = Journal.load(releases.root)
    if journal is not None:
        print(f"the {journal.kind} to {journal.to} was interrupted; run resume or rollback")


def _site(options: Options) -> tuple[Releases, Output]:
    root = Path(options.root)
    root.mkdir(parents=True, exist_ok=True)
    return Releases(root), Output(root / "release.log")


def _change(
    journal: Journal,
    releases: Releases,
    options: Options,
    output: Output,
    given: argparse.Namespace,
) -> Change:
    processes = Processes(options).numbers()
    return Change(journal, releases, options, processes, output, restart=not given.no_restart)


def _refuse_half_change(releases: Releases) -> None:
    journal = Journal.load(releases.root)
    if journal is not None:
        raise Stopped(
            f"the {journal.kind} to {journal.to} was interrupted; run resume to go on with it, or "
            "rollback to take it back"
        )


def _build(source: Source, releases: Releases, options: Options, output: Output) -> str:
    """Make a complete release beside the others, and return its name."""
    name = releases.new(source.label)
    folder = releases.path(name)
    source.copy_to(folder)
    output.step("release", f"{name}")
    output.step("packages", install_packages(folder, options))
    compile_code(folder)
    before = releases.current
    output.step("client", add_client(folder, releases.path(before) if before else None))
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    releases.complete(name, {**source.about(), "made": made})
    return name


def _newer_tables(name: str, options: Options) -> dict[str, str]:
    """Return the modules whose tables a newer release has migrated, and what this one has."""
    number = (Processes(options).numbers() or ["0"])[0]
    states = Program(Path(options.root) / "releases" / name, options).revisions(number)
    return {key: str(each["head"]) for key, each in states.items() if each["newer"]}


def _served(name: str, options: Options, given: argparse.Namespace) -> str:
    if Processes(options).numbers() and not given.no_restart:
        return f"{name} serves"
    return f"{name} is current; processes that start from now on run it"
