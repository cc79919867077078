"""What a client writes into a header or a path is its own fault: 4xx, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.raw import UPGRADE, WEBSOCKET, Raw
from tests.support.site import serve


async def test_a_websocket_key_that_is_not_ascii_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a 400 like any other bad key."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        headers = {**UPGRADE, "Sec-WebSocket-Key": "\xff" * 24}
        answer = await raw.ask(WEBSOCKET, *headers.items())
        assert answer.status == 400
        assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("path", ["/static/%00", "/static/session_ended.js%00.css"])
async def test_a_static_path_with_a_nul_is_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """No file has such a name: 404."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        assert (await raw.ask(path)).status in (400, 404)
        assert not [record for record in caplog.records if record.exc_info]
