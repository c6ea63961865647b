"""The page that describes the API: complete, and with nothing from elsewhere."""

from html.parser import HTMLParser

import pytest
from flask import Flask
from markupsafe import escape

from mushu.server.web.openapi import document_of
from tests.server.web.asking import SeparateClient, answer
from tests.server.web.test_openapi import operations

pytestmark = pytest.mark.unmeasured


class Page(HTMLParser):
    """What a page holds and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "srcset", "data", "poster"):
                self.references.append(value or "")


@pytest.fixture
def text(client: SeparateClient) -> str:
    response = client.get("/docs")
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    return response.get_data(as_text=True)


def test_every_operation_has_its_section(client: SeparateClient, text: str) -> None:
    page, spec = Page(text), answer(client.get("/openapi.json"))
    for method, path, operation in operations(spec):
        name = operation["operationId"]
        assert name in page.ids
        assert f"<p>{escape(operation['summary'])}</p>" in text
        folded = path.startswith("/sandbox/")
        assert (f"#{name}" in page.references) != folded
        for before in ("For test: ",) if folded else (f'#{name}">', f'id="{name}-heading">'):
            assert text.count(f"{before}<code>{method.upper()} {path}</code>") == 1
        if folded:  # and says nothing else
            twin = spec["paths"][path.removeprefix("/sandbox")][method]
            own = ("operationId", "tags")
            assert {k: v for k, v in operation.items() if k not in own} == {
                k: v for k, v in twin.items() if k not in own
            }


def test_the_server_searches_in_paths_summaries_and_fields(client: SeparateClient) -> None:
    def found(sought: str) -> list[str]:
        response = client.get("/docs", query_string={"q": sought})
        assert response.status_code == 200
        page = Page(response.get_data(as_text=True))
        assert not page.tags & {"script", "style"}
        return [one for one in page.references if one.startswith("/docs#")][len(operations_of_page) :]

    references = Page(client.get("/docs").get_data(as_text=True)).references
    operations_of_page = [one for one in references if one[0] == "#" and one != "#main"]
    assert found("/rotate POST") == ["/docs#rotate_api_key"]
    assert "/docs#rotate_api_key" in found("Settle")
    assert "/docs#create_upload_url" in found("  MEDIA upload ")
    assert found("no such zyzzyva") == []
    assert found("x" * 5_000) == []
    hostile = client.get("/docs", query_string={"q": '"><script>alert(1)</script>'}).get_data(as_text=True)
    assert "<script" not in hostile
    assert client.get("/docs?q=%20").data == client.get("/docs").data


def section(text: str, name: str) -> str:
    return text.split(f'<section id="{name}"')[1].split("</section>")[0]


_WHO = [
    ("health", "everybody"),
    ("login", "everybody"),
    ("logout", "any signed-in user"),
    ("create_organization", "any signed-in user"),
    ("show_organization", "scope read"),
    ("create_api_key", "scope admin"),
    ("show_my_membership", "signed-in users, scope read"),
    ("delete_organization", "the owner of the organization, signed in"),
]


def test_it_says_who_may(text: str) -> None:
    for operation, who in _WHO:
        assert f"<p>Open to: {who}.</p>" in section(text, operation), operation


def test_it_says_what_is_taken_and_what_is_answered(text: str) -> None:
    created = section(text, "create_api_key")
    for name, kind in (
        ("name", "string"),
        ("scopes", "list of string or null, optional"),
        ("expires_at", "date-time or null, optional"),
    ):
        assert f"<code>{name}</code></th><td>{kind}<br>" in created
    assert "<code>key</code></th><td>string or null, optional<br>" in created
    assert "<code>422</code> Unprocessable" in created
    assert "The name of the key, for people." in created
    assert "&#34;name&#34;: &#34;backend&#34;" in created.split("Example of a body")[1]
    listed = section(text, "list_api_keys")
    assert "<caption>Query</caption>" in listed
    assert "<code>limit</code></th><td>integer, optional<br>" in listed
    assert "<code>api_keys</code></th><td>list of Key<br>" in listed
    assert "<code>token_type</code></th><td>“Bearer”, optional<br>" in section(text, "login")


def test_nothing_is_loaded_from_elsewhere_and_every_link_leads_somewhere(client: SeparateClient, text: str) -> None:
    page = Page(text)
    assert page.references
    assert len(page.ids) == len(set(page.ids))
    for reference in page.references:
        assert not reference.startswith("//")
        if reference.startswith("#"):
            assert reference[1:] in page.ids
        else:
            assert reference.startswith("/")
            assert client.get(reference).status_code == 200
    assert not page.tags & {"script", "iframe", "object", "embed", "img", "base", "style"}
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]


def test_it_is_that_of_its_own_application(app: Flask, client: SeparateClient) -> None:
    """Two applications in one process do not describe each other."""
    document_of(app).spec["paths"]["/own"] = {
        "get": {"tags": ["own"], "operationId": "own", "summary": "Own.", "security": [], "responses": {
            "200": {"content": {"application/json": {"schema": {"type": "object"}}}},
        }},
    }  # fmt: skip
    assert "GET /own" in client.get("/docs").get_data(as_text=True)


def test_and_of_no_other(text: str) -> None:
    assert "GET /own" not in text


@pytest.mark.fault
@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_reference_is_rendered_once_and_not_sent_again(
    client: SeparateClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    first = client.get(path)
    monkeypatch.setattr("mushu.server.web.pages.reference.render_template", None)
    assert client.get(path).data == first.data
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    other = client.get(path, headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.data) == (200, first.data)
