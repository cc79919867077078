"""The parts of a site, built in the process of a command, which serves no clients."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

from app.application import Application, make_app
from app.console.errors import Failed, WrongCall
from app.console.product import LoadProduct, Product
from app.extensions import InvalidModule, load_extensions, own_records
from app.ops.data_folder import FolderBusy
from app.settings import Settings, SettingsError, parse_settings
from app.stores import StoreError
from app.stores.sqlite.database_file import FileOwned


class OwnParts:
    """An application that does not listen; hooks of modules run in it, `on_start` does not."""

    def __init__(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        load: LoadProduct,
        folder: TemporaryDirectory[str] | None = None,
    ) -> None:
        """Open the stores; `folder` is removed at the end. Raises Failed or WrongCall."""
        os.umask(0o077)
        # the audit log goes to the stored trail; the rest of the log is of no interest here
        logging.basicConfig(level=logging.ERROR, format="latchkey: %(message)s")
        self._folder = folder
        self._runner = asyncio.Runner()
        try:
            product = load()
            own = own_records(load_extensions(product.modules))
            settings = parse_settings(arguments, environ, own)
            self._app = self._runner.run(_open(settings, product))
        except (InvalidModule, SettingsError) as error:
            self._discard()
            raise WrongCall(str(error)) from None
        except FileOwned:
            self._discard()
            raise Failed(
                "another process uses this data folder, but its control socket does not answer; "
                "see its log, run the command as its user, or stop it first"
            ) from None
        except (FolderBusy, StoreError, ValueError, OSError) as error:
            self._discard()
            raise Failed(str(error)) from None

    def call(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Run a command of the control socket here; raises CommandFailed."""
        return self._runner.run(self._call(command, arguments))

    async def _call(self, command: str, arguments: Mapping[str, Any]) -> Any:
        return await self._app.commands[command](arguments)

    def close(self) -> None:
        """Tell other processes what is left to tell, store the audit trail, and close."""
        self._runner.run(self._app.stop())
        self._discard()

    def _discard(self) -> None:
        self._runner.close()
        if self._folder is not None:
            self._folder.cleanup()


async def _open(settings: Settings, product: Product) -> Application:
    app = make_app(settings, modules=product.modules, data_type=product.data_type, serves=False)
    try:
        await app.connect()
    except BaseException:
        await app.stop()
        raise
    return app
