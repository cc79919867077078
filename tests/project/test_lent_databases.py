"""Tests borrow the same databases of PostgreSQL, and find nothing of one another in them."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.postgres import Postgres

TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"


def test_the_next_borrower_gets_it_empty(postgres: Postgres) -> None:
    with postgres.lent() as first:
        postgres.run("CREATE TABLE notes (text text)", first)
    with postgres.lent() as second:
        assert second == first
        assert postgres.run(TABLES, second) == [(0,)]
        postgres.run("CREATE TABLE notes (text text)", second)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE SCHEMA other",
        "ALTER DATABASE {} SET statement_timeout = 1000",
        "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
    ],
)
def test_one_that_is_no_more_as_it_was_made_is_not_lent_again(
    postgres: Postgres, statement: str
) -> None:
    with postgres.lent() as first:
        postgres.run(statement.format(first), first)
    with postgres.lent() as second:
        assert second != first


def test_one_that_is_in_use_is_not_lent_again(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url("postgres")):  # to another database
        with postgres.lent() as first:
            pass
        with postgres.lent() as second:
            assert second == first
            connection = psycopg.connect(postgres.url(second))
        with connection, postgres.lent() as third:
            assert third != second
