"""The application of handlers/, as `python -m app` serves it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import handlers
from handlers.session import SessionData
from tests.support.site import Site, serve

MODULES = tuple(f"handlers.{name}" for name in handlers.modules)


def serve_handlers(
    tmp_path: Path, *modules: str, **options: Any
) -> AbstractAsyncContextManager[Site]:
    """Serve the modules of handlers/, and more of them if given."""
    return serve(tmp_path, modules=(*MODULES, *modules), data_type=SessionData, **options)
