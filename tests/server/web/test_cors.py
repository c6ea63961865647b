"""Pages of other origins may upload to a signed address and download from one, and read nothing else of this server."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from mushu.server.resources.media.folder import FolderStorage
from mushu.server.web.guard import in_browser, public, signed_in
from mushu.server.web.response_headers import allow_all_origins
from mushu.server.web.thread_slots import thread_slot
from tests.server.resources.media.studio import TEXT, Studio, fresh, open_studio, path_of
from tests.server.statements import statements
from tests.server.web.asking import answer, problem_of, refusal

pytestmark = pytest.mark.unmeasured

PAGE = {"Origin": "https://shop.example"}
#: What a browser asks before a page's PUT.
ASKS = PAGE | {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
OPEN = {f"{side}/media/<media_id>/content" for side in ("", "/sandbox")}
READABLE = [("Access-Control-Allow-Origin", "*")]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, database_template: str | Path) -> Iterator[Studio]:
    yield from open_studio("folder", tmp_path_factory.mktemp("studio"), database_template)


@pytest.fixture
def studio(shared: Studio) -> Studio:
    return fresh(shared)


def permissions(response: TestResponse) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers if name.lower().startswith("access-control-")]


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is said to any database meanwhile."""
    with statements(Engine) as found:
        yield found


@pytest.mark.parametrize("side", ["", "/sandbox"])
class TestASignedAddress:
    def test_lets_a_page_upload(self, studio: Studio, side: str) -> None:
        announced = studio.announce(side=side)
        path = path_of(announced["upload_url"])
        asked = studio.http.options(path, headers=ASKS)
        assert (asked.status_code, asked.data) == (200, b"")
        assert permissions(asked) == [
            *READABLE,
            ("Access-Control-Allow-Methods", "PUT"),
            ("Access-Control-Allow-Headers", "Content-Type"),
        ]
        sent = studio.http.put(path, data=TEXT, content_type="text/plain", headers=PAGE)
        assert answer(sent)["status"] == "uploaded"
        assert permissions(sent) == READABLE

    def test_lets_a_page_download_whole_in_part_and_not_again(self, studio: Studio, side: str) -> None:
        path = path_of(studio.upload(side=side)["url"])
        whole = studio.http.get(path, headers=PAGE)
        assert (whole.status_code, whole.data) == (200, TEXT)
        part = studio.http.get(path, headers=PAGE | {"Range": "bytes=0-4"})
        assert (part.status_code, part.data) == (206, TEXT[:5])
        again = studio.http.get(path, headers=PAGE | {"If-None-Match": whole.headers["ETag"]})
        assert again.status_code == 304
        head = studio.http.head(path, headers=PAGE)
        assert head.status_code == 200
        assert [permissions(found) for found in (whole, part, again, head)] == [READABLE] * 4


class TestARefusal:
    """Of a signed address, which a page can read as any other answer."""

    def test_of_a_wrong_signature_of_none_and_of_what_was_deleted(self, studio: Studio) -> None:
        announced, uploaded = studio.announce(), studio.upload()
        wrong = re.sub("signature=.*", "signature=" + "0" * 64, path_of(announced["upload_url"]))
        for response in (studio.http.put(wrong, data=TEXT, headers=PAGE), studio.http.get(wrong, headers=PAGE)):
            refusal(response, 403, "link_not_valid")
            assert permissions(response) == READABLE
        response = studio.http.put(f"/media/{announced['media_id']}/content", data=TEXT, headers=PAGE)
        refusal(response, 422, "invalid_input")
        assert permissions(response) == READABLE
        assert studio.delete(uploaded["media_id"]).status_code == 200
        response = studio.http.get(path_of(uploaded["url"]), headers=PAGE)
        assert problem_of(response)["status"] in (403, 404)
        assert permissions(response) == READABLE

    def test_of_other_bytes_than_announced(self, studio: Studio) -> None:
        url = studio.announce()["upload_url"]
        short = studio.put_here(url, TEXT[:-1], **PAGE)
        refusal(short, 422, "invalid_input")
        assert studio.put(url, TEXT) == 200
        twice = studio.put_here(url, TEXT, **PAGE)
        refusal(twice, 409, "media_wrong_state")
        assert permissions(short) == permissions(twice) == READABLE

    def test_where_all_places_are_taken(self, studio: Studio) -> None:
        url = studio.announce()["upload_url"]
        with ExitStack() as taken:
            for _ in range(studio.settings.transfers):
                taken.enter_context(thread_slot())
            response = studio.put_here(url, TEXT, **PAGE)
        refusal(response, 503, "busy")
        assert permissions(response) == READABLE

    def test_where_the_server_fails(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        url = studio.upload()["url"]
        monkeypatch.delattr(FolderStorage, "open")
        response = studio.http.get(path_of(url), headers=PAGE)
        refusal(response, 500, "internal")
        assert permissions(response) == READABLE


class TestTheQuestionBeforehand:
    def test_asks_no_database_and_takes_no_place(self, studio: Studio, said: list[str]) -> None:
        path = path_of(studio.announce()["upload_url"])
        said.clear()
        with ExitStack() as taken:
            for _ in range(studio.settings.transfers):
                taken.enter_context(thread_slot())
            assert studio.http.options(path, headers=ASKS).status_code == 200
        assert said == []
        studio.http.put(path, data=TEXT, headers=PAGE)
        assert said

    def test_tells_nobody_whether_an_item_is_there_or_a_signature_good(self, studio: Studio) -> None:
        there = path_of(studio.announce()["upload_url"])
        paths = (there, there.partition("?")[0], "/media/media_aaaaaaaaaaaa/content")
        same = ASKS | {"X-Request-Id": "proxy-12345678"}
        first, *others = [studio.http.options(path, headers=same) for path in paths]
        for other in others:
            assert (other.status_code, other.data) == (first.status_code, first.data)
            assert sorted(other.headers) == sorted(first.headers)

    def test_allows_no_credential_and_no_other_method(self, studio: Studio) -> None:
        path = path_of(studio.announce()["upload_url"])
        asks = PAGE | {
            "Access-Control-Request-Method": "DELETE",
            "Access-Control-Request-Headers": "authorization, x-api-key",
            "Access-Control-Request-Private-Network": "true",
        }
        found = dict(permissions(studio.http.options(path, headers=asks)))
        assert found["Access-Control-Allow-Methods"] == "PUT"
        assert found["Access-Control-Allow-Headers"] == "Content-Type"
        assert len(found) == 3


def test_a_signed_address_looks_at_no_credential_and_no_cookie(studio: Studio) -> None:
    path = path_of(studio.upload()["url"])
    plain = studio.http.get(path)
    for headers in ({"Authorization": "ApiKey nonsense"}, {"X-API-Key": "x"}, {"Cookie": "session=x"}, studio.headers):
        given = studio.http.get(path, headers=PAGE | headers)
        assert (given.status_code, given.data) == (plain.status_code, plain.data)
        assert "Set-Cookie" not in given.headers
        assert permissions(given) == READABLE


def test_no_other_address_lets_a_page_read_anything_whatever_the_method(studio: Studio) -> None:
    opened = set()
    for rule in studio.app.url_map.iter_rules():
        path = re.sub("<[^>]*>", "x", rule.rule)
        for method in METHODS:
            asks = PAGE | {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
            if permissions(studio.http.open(path, method=method, headers=asks)):
                opened.add((rule.rule, method))
    assert opened == {(rule, method) for rule in OPEN for method in ("GET", "HEAD", "PUT", "OPTIONS")}


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/media/x/content/", "/media/x/y/content", "/media//content", "/sandbox/sandbox/media/x/content"],
)
def test_nor_does_one_that_is_not_there(studio: Studio, path: str) -> None:
    for method in METHODS:
        assert permissions(studio.http.open(path, method=method, headers=ASKS)) == []


@pytest.mark.parametrize("mark", [signed_in, in_browser, lambda view: view])
def test_a_view_that_asks_who_it_is_cannot_be_opened_to_foreign_pages(mark: Any) -> None:
    def view() -> None: ...

    with pytest.raises(TypeError, match="no page of another origin"):
        allow_all_origins(mark(view))
    opened = public(lambda: None)
    assert allow_all_origins(opened) is opened
