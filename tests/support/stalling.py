"""A program with a page that keeps the event loop waiting."""

from __future__ import annotations

import sys
import time

from app.application import NoData
from app.program import run
from app.web.base_handler import BaseHandler


class StallingHandler(BaseHandler[NoData]):
    """Sleeps without leaving the loop to others."""

    def get(self) -> None:
        time.sleep(2.5)
        self.write("done")


routes = [(r"/stall", StallingHandler)]

if __name__ == "__main__":
    sys.exit(run(("tests.support.stalling",), NoData))
