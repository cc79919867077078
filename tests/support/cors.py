"""Requests of a page of another origin, and what its browser may read of the responses."""

from __future__ import annotations

from tests.support.raw import Answer, Raw

TRUSTED = "https://app.example.org"
CROSS = ("Sec-Fetch-Site", "cross-site")


def sharing(answer: Answer) -> dict[str, str]:
    """Return the Access-Control headers of a response, without their common beginning."""
    beginning = "access-control-"
    return {
        name.removeprefix(beginning): value
        for name, value in answer.headers
        if name.startswith(beginning)
    }


async def ask(raw: Raw, method: str, path: str, *headers: tuple[str, str]) -> Answer:
    raw.write(path, *headers, method=method, body=b"" if method in ("POST", "PUT") else None)
    if method != "HEAD":
        return await raw.answer()
    head = (await raw.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = [line.split(": ", 1) for line in head[1:] if line]
    return Answer(int(head[0].split()[1]), [(name.lower(), value) for name, value in fields], "")
