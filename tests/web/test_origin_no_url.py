"""An Origin that is no URL is refused like any other foreign one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.raw import Raw
from tests.support.site import serve


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://a]b", "http://[x]"])
@pytest.mark.parametrize("path", ["/logout", "/incr", "/login", "/register", "/nowhere"])
async def test_an_origin_that_is_no_url_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, origin: str
) -> None:
    """It is a 403 and no traceback."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await raw.ask(path, ("Origin", origin), method="POST", body=b"")
        assert answer.status == 403
        assert not [record for record in caplog.records if record.exc_info]
