"""How the tests of the web ask, and what they look at in an answer and in the database behind it."""

from contextvars import Context
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from mushu.server import schema
from mushu.server.core import db

#: What a problem document has, in this order (RFC 9457); `key_id` and `errors` may follow.
PROBLEM = ["type", "title", "status", "detail", "code"]


class SeparateClient(FlaskClient):
    """Sends each request in a context of its own.

    A request that finds the test's app context goes on in it, and would see the objects that the test's session keeps.
    """

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return Context().run(super().open, *args, **({"buffered": True} | kwargs))


def refusal(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Return the problem document of a refusal, which has this status and code and is well-formed."""
    assert response.status_code == status, response.get_data(as_text=True)
    document = problem_of(response)
    assert document["code"] == code
    return document


def problem_of(response: TestResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    assert response.data.endswith(b"}\n")
    document: dict[str, Any] = response.get_json()
    assert [name for name in document if name not in ("errors", "key_id")] == PROBLEM
    assert document["status"] == response.status_code
    assert document["type"] == f"urn:mushu:error:{document['code']}"
    assert document["title"]
    assert document["detail"].endswith(".")
    return document


def answer(response: TestResponse) -> dict[str, Any]:
    """Return the document of a success."""
    assert response.status_code == 200, response.get_data(as_text=True)
    assert response.content_type == "application/json"
    assert response.data.endswith(b"}\n")  # or the prompt of a shell stands behind it
    document: dict[str, Any] = response.get_json()
    return document


def all_rows() -> dict[str, list[str]]:
    """Return the whole database, to be compared with a later one."""
    with db.engine.connect() as connection:
        return {
            table.name: sorted(map(repr, map(tuple, connection.execute(table.select()))))
            for table in schema.metadata.sorted_tables
        }


def execute(statement: str, **values: object) -> None:
    """Do to the database what no service does."""
    with db.engine.begin() as connection:
        connection.execute(text(statement), values)
