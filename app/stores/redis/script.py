"""A Lua script that Redis runs in one step."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from app.stores.redis.connection import Word, bulk, pack


class Script:
    """A script and the commands that run it: EVALSHA, and EVAL where Redis does not know it."""

    def __init__(self, source: str, *, words: int = 0) -> None:
        """`words` is the number of KEYS (one) and ARGV, for scripts that run by `packed`."""
        self._source = source.encode()
        self._sha = hashlib.sha1(self._source, usedforsecurity=False).hexdigest().encode()
        count = b"*%d\r\n" % (words + 3)
        self._evalsha_head = b"".join((count, bulk(b"EVALSHA"), bulk(self._sha), bulk(b"1")))
        self._eval_head = b"".join((count, bulk(b"EVAL"), bulk(self._source), bulk(b"1")))

    @classmethod
    def read(cls, package: str, *names: str, words: int = 0) -> Script:
        """Join `lua/NAME.lua` of a package; the last one is the script, others its functions."""
        folder = files(package) / "lua"
        texts = [(folder / f"{name}.lua").read_text(encoding="utf-8") for name in names]
        return cls("\n".join(texts), words=words)

    def evalsha(self, keys: tuple[Word, ...], args: tuple[Word, ...]) -> bytes:
        """Return the packed command that runs it; it fails with NOSCRIPT after SCRIPT FLUSH."""
        return pack((b"EVALSHA", self._sha, len(keys), *keys, *args))

    def eval(self, keys: tuple[Word, ...], args: tuple[Word, ...]) -> bytes:
        """Return the packed command that makes it known and runs it."""
        return pack((b"EVAL", self._source, len(keys), *keys, *args))

    def packed(self, words: tuple[bytes, ...]) -> bytes:
        """Return what `evalsha` returns, for words that were packed by `bulk`.

        For the scripts of each edit, which send the same words again and again: `evalsha`
        (hiredis) takes 1.2 µs for a save, this 0.4 µs.
        """
        return b"".join((self._evalsha_head, *words))

    def packed_eval(self, words: tuple[bytes, ...]) -> bytes:
        """Return what `eval` returns, for words that were packed by `bulk`."""
        return b"".join((self._eval_head, *words))
