"""Uploads to this server, downloads from it, and pictures: what a signed address opens, and what it does not."""

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

from mushu.server.errors import StorageUnavailable
from mushu.server.resources.media.storage import CHUNK
from tests.server.resources.media.studio import TEXT, Studio, fresh, open_studio, path_of, picture
from tests.server.web.asking import answer, refusal


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, database_template: str | Path) -> Iterator[Studio]:
    yield from open_studio("folder", tmp_path_factory.mktemp("studio"), database_template)


@pytest.fixture
def studio(shared: Studio) -> Studio:
    return fresh(shared)


def other_letter(letter: str) -> str:
    return "1" if letter == "0" else "0"


class TestASignedAddress:
    def test_is_good_for_an_hour_and_no_longer(self, studio: Studio) -> None:
        early, late = studio.announce(), studio.announce()
        studio.clock.turn(seconds=3599)
        assert studio.put(early["upload_url"], TEXT) == 200
        studio.clock.turn(seconds=1)
        refusal(studio.put_here(late["upload_url"], TEXT), 403, "link_not_valid")
        url = answer(studio.confirm(early["media_id"]))["url"]
        studio.clock.turn(seconds=3600)
        refusal(studio.http.get(path_of(url)), 403, "link_not_valid")

    @pytest.mark.parametrize("purpose", ["upload", "download"])
    def test_changed_in_any_letter_opens_nothing(self, studio: Studio, purpose: str) -> None:
        announced = studio.announce() if purpose == "upload" else studio.upload()
        path = path_of(announced["upload_url" if purpose == "upload" else "url"])
        before = studio.left()
        for place in range(1, len(path)):
            for changed in (
                path[:place] + other_letter(path[place]) + path[place + 1 :],
                path[:place] + path[place + 1 :],
            ):
                tried = studio.http.put(changed, data=TEXT) if purpose == "upload" else studio.http.get(changed)
                assert tried.status_code in (401, 403, 404, 405, 422), changed
        assert studio.left() == before

    def test_opens_nothing_for_longer_nothing_else_and_nothing_the_other_way_round(self, studio: Studio) -> None:
        announced, other = studio.announce(), studio.announce()
        upload = path_of(announced["upload_url"])
        for tried in (upload.replace(announced["media_id"], other["media_id"]), "/sandbox" + upload):
            refusal(studio.http.put(tried, data=TEXT), 403, "link_not_valid")
        studio.put(announced["upload_url"], TEXT)
        url = answer(studio.confirm(announced["media_id"]))["url"]
        refusal(studio.http.get(upload), 403, "link_not_valid")
        refusal(studio.put_here(url, TEXT), 403, "link_not_valid")
        studio.clock.turn(hours=2)
        first, _, query = path_of(other["upload_url"]).partition("?")
        for longer in ("expires=9999999999", "signature=" + "0" * 64):
            for tried in (f"{first}?{query}&{longer}", f"{first}?{longer}&{query}"):
                refused = refusal(studio.http.put(tried, data=TEXT), 422, "invalid_input")
                assert "is given twice" in refused["detail"]

    def test_tells_nobody_whether_an_item_is_there(self, studio: Studio) -> None:
        query = "?by=key_aaaaaaaaaaaa&expires=1768480000&signature=" + "0" * 64
        there, missing = studio.announce()["media_id"], "media_aaaaaaaaaaaa"
        first = refusal(studio.http.get(f"/media/{there}/content{query}"), 403, "link_not_valid")
        assert refusal(studio.http.get(f"/media/{missing}/content{query}"), 403, "link_not_valid") == first

    def test_is_under_the_address_that_the_operator_set_whatever_host_is_asked(self, studio: Studio) -> None:
        announced = studio.announce(headers={"Host": "evil.example"})
        assert announced["upload_url"].startswith(studio.settings.base_url)


class TestUploads:
    def test_are_taken_once(self, studio: Studio) -> None:
        announced = studio.announce()
        assert studio.put(announced["upload_url"], TEXT) == 200
        assert answer(studio.get(f"/media/{announced['media_id']}"))["status"] == "uploaded"
        refusal(studio.put_here(announced["upload_url"], TEXT[::-1]), 409, "media_wrong_state")
        url = answer(studio.confirm(announced["media_id"]))["url"]
        refusal(studio.put_here(announced["upload_url"], TEXT[::-1]), 409, "media_wrong_state")
        assert studio.fetch(url) == TEXT

    @pytest.mark.parametrize("content", [b"", TEXT[:-1], TEXT + b"!", TEXT * 100])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_of_another_size_are_refused_and_leave_nothing(self, studio: Studio, content: bytes, chunked: bool) -> None:
        announced = studio.announce()
        response = upload(studio, announced, content) if chunked else studio.put_here(announced["upload_url"], content)
        refusal(response, 422, "invalid_input")
        assert studio.left() == []
        assert upload(studio, announced, TEXT).status_code == 200

    @pytest.mark.parametrize(
        "content_type", [None, "", "text/html", "text/plainer", "nonsense", "text/plain, text/html"]
    )
    def test_of_another_type_are_refused(self, studio: Studio, content_type: str | None) -> None:
        announced = studio.announce()
        refusal(studio.put_here(announced["upload_url"], TEXT, content_type), 422, "invalid_input")
        assert studio.left() == []

    @pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", "TEXT/Plain", "text/plain;"])
    def test_of_the_same_type_in_other_words_are_taken(self, studio: Studio, content_type: str) -> None:
        assert studio.put(studio.announce()["upload_url"], TEXT, content_type) == 200

    def test_that_break_off_leave_nothing(self, studio: Studio) -> None:
        announced = studio.announce()

        def cut() -> None:
            raise OSError("connection reset")

        response = upload(studio, announced, Sent(TEXT[:5], 5, cut))
        assert response.status_code in (400, 503)
        assert studio.left() == []
        assert studio.put(announced["upload_url"], TEXT) == 200

    def test_of_two_at_once_one_wins_and_nothing_is_mixed(self, studio: Studio) -> None:
        announced = studio.announce(b"a" * 1_000_000)
        both = threading.Barrier(2)

        def put(letter: bytes) -> int:
            sent = Sent(letter * 1_000_000, 0, lambda: both.wait(20))
            return int(upload(studio, announced, sent).status_code)

        assert at_once(partial(put, b"a"), partial(put, b"b")) == [200, 409]
        content = studio.fetch(answer(studio.confirm(announced["media_id"]))["url"])
        assert content in (b"a" * 1_000_000, b"b" * 1_000_000)
        assert len(studio.left()) == 1

    def test_to_what_was_deleted_meanwhile_leave_nothing(self, studio: Studio) -> None:
        large = 2 * studio.settings.max_body_bytes  # the first half is read before the request is looked at
        announced = studio.announce(b"x" * large)
        sent = Sent(b"x" * large, large // 2 + 1, lambda: studio.delete(announced["media_id"]))
        refusal(upload(studio, announced, sent), 409, "media_wrong_state")
        assert studio.left() == []

    def test_larger_than_any_body_of_the_api_are_taken(self, studio: Studio) -> None:
        content = b"x" * (studio.settings.max_body_bytes + 1)
        uploaded = studio.upload(content)
        assert studio.fetch(uploaded["url"]) == content

    def test_without_room_on_the_disk_are_refused(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mushu.server.resources.media.folder.RESERVE", 2**60)
        refusal(studio.put_here(studio.announce()["upload_url"], TEXT), 503, "storage_unavailable")
        assert studio.left() == []

    def test_wait_for_no_place_when_all_are_taken(self, studio: Studio) -> None:
        announced, uploaded = studio.announce(), studio.upload()
        taken = [studio.world.core.places.acquire(blocking=False) for _ in range(studio.settings.transfers)]
        try:
            assert all(taken)
            refusal(studio.put_here(announced["upload_url"], TEXT), 503, "busy")
            refusal(studio.http.get(path_of(uploaded["url"])), 503, "busy")
        finally:
            for _ in taken:
                studio.world.core.places.release()
        assert studio.put(announced["upload_url"], TEXT) == 200


class TestDownloads:
    def test_carry_what_keeps_a_browser_from_running_them(self, studio: Studio) -> None:
        page = b"<html><script>alert(document.domain)</script></html>"
        for content_type in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript", "text/xml"):
            content = b"<svg xmlns='http://www.w3.org/2000/svg'/>" if "svg" in content_type else page
            url = studio.upload(content, content_type=content_type, filename="page.html")["url"]
            response = studio.http.get(path_of(url))
            assert response.headers["Content-Disposition"].startswith("attachment;")
            assert response.headers["Content-Type"] == "application/octet-stream"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "sandbox" in response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]

    @pytest.mark.parametrize(
        "filename", ['a".txt', "a';b=c.txt", "Übung.txt", "写真.txt", "a%0d%0aSet-Cookie.txt", "a,b;filename=x.txt"]
    )
    def test_bear_the_name_and_nothing_that_could_break_out_of_it(self, studio: Studio, filename: str) -> None:
        response = studio.http.get(path_of(studio.upload(filename=filename)["url"]))
        disposition = response.headers["Content-Disposition"]
        assert disposition.isascii()
        kind, plain, encoded = disposition.split("; ", 2)
        assert (kind, plain.count('"')) == ("attachment", 2)
        assert unquote(encoded.removeprefix("filename*=UTF-8''")) == filename
        assert "Set-Cookie" not in response.headers

    @pytest.mark.parametrize(
        ("asked", "status", "content"),
        [("bytes=0-4", 206, TEXT[:5]), ("bytes=5-", 206, TEXT[5:]), ("bytes=-5", 206, TEXT[-5:]),
         ("bytes=1000-", 416, None), ("bytes=5-1", 416, None), ("lines=1-2", 416, None), ("bytes=0-0", 206, TEXT[:1])],
    )  # fmt: skip
    def test_give_a_part(self, studio: Studio, asked: str, status: int, content: bytes | None) -> None:
        url = studio.upload()["url"]
        response = studio.http.get(path_of(url), headers={"Range": asked})
        assert response.status_code == status
        if content is not None:
            assert response.data == content
            assert response.headers["Content-Range"].endswith(f"/{len(TEXT)}")
        free = studio.settings.transfers
        assert [studio.world.core.places.acquire(blocking=False) for _ in range(free)] == [True] * free
        for _ in range(free):
            studio.world.core.places.release()

    def test_are_not_sent_again_to_who_has_them(self, studio: Studio) -> None:
        url = path_of(studio.upload()["url"])
        etag = studio.http.get(url).headers["ETag"]
        assert studio.http.get(url, headers={"If-None-Match": etag}).status_code == 304
        refusal(studio.http.get(url, headers={"If-Match": '"other"'}), 412, "precondition_failed")
        assert studio.http.head(url).headers["Content-Length"] == str(len(TEXT))
        part = studio.http.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
        assert part.status_code == 200

    def test_that_began_before_a_deletion_come_to_their_end(self, studio: Studio) -> None:
        content = b"x" * (4 * CHUNK)
        uploaded = studio.upload(content)
        response = studio.http.get(path_of(uploaded["url"]), buffered=False)
        parts = response.iter_encoded()
        begun = next(iter(parts))
        studio.delete(uploaded["media_id"])
        assert studio.left() == []
        assert begun + b"".join(parts) == content
        response.close()


class TestPictures:
    def test_are_made_once_and_kept_beside_the_original(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        key = studio.upload(picture(size=(2000, 1000)), content_type="image/png", filename="a.png")["key"]
        first = studio.http.get(f"/t/small/{key}")
        assert first.status_code == 200
        assert first.headers["Content-Type"] == "image/jpeg"
        assert Image.open(io.BytesIO(first.data)).size == (320, 160)
        monkeypatch.setattr(studio.media.pictures, "make", never)
        assert studio.http.get(f"/t/small/{key}").data == first.data
        again = studio.http.get(f"/t/small/{key}", headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304
        assert first.headers["Cache-Control"] == "public, max-age=300"
        assert len(studio.left()) == 2

    def test_the_original_is_shown_as_it_came(self, studio: Studio) -> None:
        content = picture("WEBP")
        key = studio.upload(content, content_type="image/webp", filename="a.webp")["key"]
        response = studio.http.get(f"/t/original/{key}")
        assert (response.data, response.headers["Content-Type"]) == (content, "image/webp")
        assert response.headers["Content-Disposition"].startswith("inline;")

    def test_asked_for_by_many_at_once_are_made_once(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        key = studio.upload(picture(), content_type="image/png", filename="a.png")["key"]
        make, made = studio.media.pictures.make, []

        def counted(*arguments: Any) -> Any:
            made.append(arguments)
            return make(*arguments)

        monkeypatch.setattr(studio.media.pictures, "make", counted)
        assert at_once(*[lambda: studio.http.get(f"/t/thumbnail/{key}").status_code] * 6) == [200] * 6
        assert len(made) == 1

    def test_that_cannot_be_made_are_not_there(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        key = studio.upload(picture(), content_type="image/png", filename="a.png")["key"]
        monkeypatch.setattr(studio.media.pictures, "make", lambda *_: None)
        refusal(studio.http.get(f"/t/small/{key}"), 404, "media_not_found")

    def test_made_while_the_item_is_deleted_leave_nothing(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        uploaded = studio.upload(picture(), content_type="image/png", filename="a.png")
        make = studio.media.pictures.make

        def deleted_meanwhile(*arguments: Any) -> Any:
            made = make(*arguments)
            studio.delete(uploaded["media_id"])
            return made

        monkeypatch.setattr(studio.media.pictures, "make", deleted_meanwhile)
        refusal(studio.http.get(f"/t/small/{uploaded['key']}"), 404, "media_not_found")
        assert studio.left() == []


class TestConfirmations:
    def test_two_at_once_are_answered_alike(self, studio: Studio) -> None:
        content = picture()
        announced = studio.announce(content, content_type="image/png", filename="a.png")
        studio.put(announced["upload_url"], content, "image/png")
        assert at_once(*[lambda: studio.confirm(announced["media_id"]).status_code] * 2) == [200, 200]
        assert len(studio.left()) == 1

    @pytest.mark.parametrize("step", ["settle", "open_upload", "find_upload"])
    def test_that_the_storage_refuses_can_be_asked_again(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        announced = studio.announce()
        studio.put(announced["upload_url"], TEXT)
        with monkeypatch.context() as patch:
            patch.setattr(studio.media.storage, step, out_of_order)
            refusal(studio.confirm(announced["media_id"]), 503, "storage_unavailable")
        assert studio.fetch(answer(studio.confirm(announced["media_id"]))["url"]) == TEXT

    def test_after_a_crash_between_settling_and_saying_so_are_good(self, studio: Studio) -> None:
        announced = studio.announce()
        studio.put(announced["upload_url"], TEXT)
        upload_found = studio.media.storage.find_upload(studio.place(announced))
        assert upload_found is not None
        assert studio.media.storage.settle(studio.place(announced), upload_found)
        assert studio.fetch(answer(studio.confirm(announced["media_id"]))["url"]) == TEXT


class TestWhatWasPlanted:
    @pytest.mark.parametrize("where", ["incoming", "original", "small", "folder"])
    def test_a_link_to_elsewhere_is_neither_read_nor_written(self, studio: Studio, tmp_path: Path, where: str) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(TEXT)
        root = studio.settings.media_path / "live"
        if where == "incoming":
            announced = studio.announce()
            (root / "incoming").mkdir(parents=True, exist_ok=True)
            (root / "incoming" / announced["key"]).symlink_to(secret)
            refusal(studio.put_here(announced["upload_url"], TEXT), 409, "media_wrong_state")
            refusal(studio.confirm(announced["media_id"]), 409, "media_wrong_state")
        else:
            uploaded = studio.upload(picture(), content_type="image/png", filename="a.png")
            kept = root / "kept" / uploaded["key"][:2] / uploaded["key"]
            if where == "folder":
                kept.rename(tmp_path / "moved")
                kept.symlink_to(tmp_path / "moved")
            else:
                (kept / where).unlink(missing_ok=True)
                (kept / where).symlink_to(secret)
            name = "small" if where == "small" else "original"
            response = studio.http.get(f"/t/{name}/{uploaded['key']}")
            assert secret.read_bytes() == TEXT
            assert TEXT not in response.data
            assert response.status_code in (200, 404, 503)
        assert secret.read_bytes() == TEXT

    def test_everything_is_for_this_account_only(self, studio: Studio) -> None:
        studio.upload(picture(), content_type="image/png", filename="a.png")
        root = studio.settings.media_path
        modes = {path: path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")]}
        assert set(modes.values()) == {0o600, 0o700}


class Sent(io.BytesIO):
    """A body on its way: something happens once so many bytes of it were read."""

    def __init__(self, content: bytes, after: int, act: Callable[[], object]) -> None:
        super().__init__(content)
        self._after, self._act = after, [act]

    def read(self, size: int | None = -1, /) -> bytes:
        if self._act and self.tell() >= self._after:
            self._act.pop()()
        return super().read(size)


def upload(studio: Studio, announced: dict[str, Any], content: Any) -> Any:
    """Send a body of unsaid length, as `Transfer-Encoding: chunked` comes through."""
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    return studio.http.put(
        path_of(announced["upload_url"]),
        content_type="text/plain",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True, "wsgi.input": stream},
    )


def at_once(*acts: Callable[[], int]) -> list[int]:
    """Do all of it at the same moment; return the statuses in order."""
    with ThreadPoolExecutor(len(acts)) as pool:
        return sorted(pool.map(lambda act: act(), acts))


def never(*_: object) -> None:
    raise AssertionError("it was made again")


def out_of_order(*_: object) -> None:
    raise StorageUnavailable("The disk is away.")
