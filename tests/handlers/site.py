"""The stock modules of handlers/; sessions are those of the demo, since a fork changes its own."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import handlers
from tests.support.demo.session import SessionData
from tests.support.site import Site, serve

MODULES = tuple(f"handlers.{name}" for name in handlers.modules)


def serve_handlers(
    tmp_path: Path, *modules: str, **options: Any
) -> AbstractAsyncContextManager[Site]:
    """Serve the modules of upstream, and more of them if given."""
    return serve(tmp_path, modules=(*MODULES, *modules), data_type=SessionData, **options)
