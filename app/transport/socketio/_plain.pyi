from collections.abc import Callable
from typing import Any

def plain_event(
    buffer: memoryview,
    size: int,
    longest: int,
    loads: Callable[[bytes], Any],
    reserved: frozenset[str],
    /,
) -> tuple[int | None, list[Any]] | None: ...
def ack_text(id: int, answer: bytes, /) -> bytes: ...
def text_frame(payload: bytes, /) -> bytes | None: ...
