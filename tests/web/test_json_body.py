"""`self.json(Type)`: bodies that fit a type, and sentences about those that do not."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from app.testing import Visitor
from app.web.errors import InvalidField
from tests.support.demo.session import BaseHandler, SessionData
from tests.support.fork import fork


class Item(msgspec.Struct):
    """A nested value."""

    name: str
    amount: Annotated[int, msgspec.Meta(ge=1)] = 1


class Address(msgspec.Struct, forbid_unknown_fields=True):
    """A value that checks itself."""

    zip: str

    def __post_init__(self) -> None:
        if self.zip == "-":
            raise ValueError("no such zip")


class Order(msgspec.Struct):
    """What a client sends."""

    items: list[Item]
    note: str = ""
    to: Address | None = None
    prices: dict[str, int] = {}
    days: dict[int, int] = {}


class OrderHandler(BaseHandler):
    """Answers with what it understood."""

    async def post(self) -> None:
        order = self.json(Order)
        if [item.name for item in order.items] == ["coffee"]:
            raise InvalidField("items[0].name", "sold out")
        async with self.session as data:
            data.count += len(order.items)
        self.write(msgspec.to_builtins(order))

    def get(self) -> None:
        raise InvalidField("items", "no item")

    def put(self) -> None:
        self.write({"sum": sum(self.json(list[int]))})


@pytest.fixture
def latchkey_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    modules = fork(monkeypatch, routes=[("/order", OrderHandler)])
    return {"modules": modules, "data_type": SessionData, "max_message_size": 1024}


async def test_a_body_becomes_a_value_of_the_type(visitor: Visitor) -> None:
    """With defaults; any type that msgspec knows will do."""
    answer = await visitor.post("/order", json={"items": [{"name": "tea"}], "other": 1})
    assert answer.json()["items"] == [{"name": "tea", "amount": 1}]
    assert answer.json()["note"] == ""
    assert await visitor.request("PUT", "/order", json=[1, 2]) == (200, '{"sum": 3}')


@pytest.mark.parametrize(
    ("body", "sentence", "field"),
    [
        ({"items": [{"name": 7}]}, "items[0].name: expected str, got int", "items[0].name"),
        ({"items": [{"name": "tea", "amount": 0}]}, "items[0].amount: expected int >= 1", None),
        ({"items": [{}]}, "items[0]: object missing required field name", "items[0].name"),
        ({}, "the body: object missing required field items", "items"),
        ([], "the body: expected object, got array", ""),
        ({"items": [], "note": None}, "note: expected str, got null", None),
        ({"items": [], "to": {}}, "to: object missing required field zip", "to.zip"),
        ({"items": [], "to": {"zip": 1}}, "to.zip: expected str, got int", None),
        ({"items": [], "to": {"zap": 1}}, "to: object contains unknown field zap", "to.zap"),
        ({"items": [], "to": {"zip": "-"}}, "to: no such zip", None),
        ({"items": [], "prices": {"tea": "1"}}, "prices[...]: expected int, got str", None),
        ({"items": [], "days": {"x": 1}}, "days: expected int, got str", None),
    ],
)
async def test_a_body_that_does_not_fit_is_refused_by_field(
    visitor: Visitor, body: object, sentence: str, field: str | None
) -> None:
    """422, as JSON, and the handler has done nothing. The sentence mostly begins with the field."""
    answer = await visitor.post("/order", json=body)
    if field is None:
        field = sentence.partition(":")[0]
    assert (answer.status, answer.json()) == (422, {"error": sentence, "field": field})
    assert visitor.cookie == ""


async def test_a_handler_refuses_a_field_in_the_same_shape(visitor: Visitor) -> None:
    """For what a type cannot say."""
    body = {"items": [{"name": "coffee"}]}
    answer = await visitor.post("/order", json=body)
    assert (answer.status, answer.error, answer.field) == (422, "sold out", "items[0].name")


async def test_a_page_shows_the_sentence_of_a_field(visitor: Visitor) -> None:
    """To a browser that asks for HTML."""
    status, text = await visitor.page("/order")
    assert status == 422
    assert "no item" in text


async def test_other_errors_have_no_field(visitor: Visitor) -> None:
    """Only the sentence."""
    assert set((await visitor.post("/nowhere", json={})).json()) == {"error"}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is empty; send JSON"),
        (b"{", "the body is not JSON"),
        (b'{"items": [], "note": "\xff"}', "the body is not JSON"),
        (b'{"items": [], "note": NaN}', "the body is not JSON"),
    ],
)
async def test_a_body_that_is_not_json_gets_400(
    visitor: Visitor, body: bytes, sentence: str
) -> None:
    """Whatever is wrong with it."""
    headers = {"Content-Type": "application/json"}
    answer = await visitor.post("/order", data=body, headers=headers)
    assert (answer.status, answer.json()) == (400, {"error": sentence})


async def test_a_lone_surrogate_is_replaced(visitor: Visitor) -> None:
    """As in everything else that is received."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    body = b'{"items": [], "note": "\\ud83d \\\\ud83d"}'
    answer = await visitor.post("/order", data=body, headers=headers)
    assert answer.json()["note"] == "\ufffd \\ud83d"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/merge-patch+json", 200),
        ("APPLICATION/JSON ; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/jsonx", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
async def test_the_content_type_counts(visitor: Visitor, kind: str, status: int) -> None:
    """Another page's form, which needs no preflight, cannot pass for JSON."""
    answer = await visitor.post("/order", data=b'{"items": []}', headers={"Content-Type": kind})
    assert answer.status == status
    if status == 415:
        assert answer.error == "send JSON, with Content-Type: application/json"


async def test_a_body_has_a_limit(visitor: Visitor) -> None:
    """Of --max-message-size."""
    body = {"items": [], "note": "x" * 1024}
    assert (await visitor.post("/order", json=body)).status == 413
