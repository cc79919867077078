"""`python -m tests.support.demo`: what `python -m app` does, with the application of the tests."""

from __future__ import annotations

import sys

from app.program import run
from tests.support.demo import MODULES
from tests.support.demo.session import SessionData

if __name__ == "__main__":
    sys.exit(run(MODULES, SessionData))
