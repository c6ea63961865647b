"""Media over HTTP, with a folder and with a bucket behind it: the same answers, and nothing left of what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.environments import within
from mushu.server.resources.media import service
from mushu.server.resources.media.storage import Upload
from mushu.server.resources.tenants import TenantRequest, create_tenant
from tests.server.conftest import bearer
from tests.server.resources.media.studio import KINDS, TEXT, Studio, black, fresh, open_studio, path_of, picture
from tests.server.web.asking import answer, refusal

pytestmark = pytest.mark.unmeasured

FIELDS = [
    "media_id", "org_id", "tenant_id", "app_id", "filename", "content_type", "size_bytes", "media_type", "status",
    "key", "created_at", "updated_at", "url",
]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database_template: str | Path
) -> Iterator[Studio]:
    yield from open_studio(request.param, tmp_path_factory.mktemp("studio"), database_template)


@pytest.fixture
def studio(shared: Studio) -> Studio:
    return fresh(shared)


class TestUploading:
    def test_it_works(self, studio: Studio) -> None:
        announced = studio.announce()
        assert list(announced) == ["media_id", "upload_url", "key", "expires_in"]
        assert announced["expires_in"] == 3600
        assert studio.put(announced["upload_url"], TEXT) == 200
        confirmed = answer(studio.confirm(announced["media_id"]))
        assert list(confirmed) == ["media_id", "status", "url"]
        assert confirmed["status"] == "ready"
        assert studio.fetch(confirmed["url"]) == TEXT
        again = answer(studio.confirm(announced["media_id"]))
        assert (again["media_id"], again["status"]) == (announced["media_id"], "ready")
        assert studio.fetch(again["url"]) == TEXT

    def test_an_item_has_the_fields_of_the_published_clients(self, studio: Studio) -> None:
        media_id = studio.announce()["media_id"]
        item = answer(studio.get(f"/media/{media_id}"))
        assert list(item) == FIELDS
        assert (item["status"], item["url"], item["app_id"]) == ("pending", None, None)
        assert (item["media_type"], item["size_bytes"]) == ("document", len(TEXT))
        assert item["created_at"] == item["updated_at"] == "2026-01-15T10:30:00Z"
        refusal(studio.confirm(media_id), 409, "media_wrong_state")

    def test_an_api_key_need_not_name_its_organization_and_a_user_must(self, studio: Studio) -> None:
        assert answer(studio.try_to_announce(org_id=studio.org))["media_id"]
        body = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": 1}
        headers = bearer(studio.world.token(studio.world.owner_of(studio.organization)))
        refusal(studio.http.post("/media/upload-url", json=body, headers=headers), 422, "invalid_input")
        assert answer(studio.http.post("/media/upload-url", json=body | {"org_id": studio.org}, headers=headers))

    def test_what_lies_in_the_storage_is_named_by_chance_and_not_by_the_client(self, studio: Studio) -> None:
        first, second = studio.upload(filename="holiday photo.txt"), studio.upload(filename="holiday photo.txt")
        assert first["key"] != second["key"]
        assert first["key"].endswith("-holiday-photo.txt")
        assert len([name for name in studio.left() if name.endswith("/original")]) == 2


class TestAskingTwice:
    def test_the_same_request_is_answered_with_the_same_item_and_a_fresh_address(self, studio: Studio) -> None:
        once = {"Idempotency-Key": "first"}
        first = studio.announce(headers=once)
        studio.clock.turn(minutes=50)
        second = studio.announce(headers=once)
        assert first["media_id"] == second["media_id"]
        assert studio.put(second["upload_url"], TEXT) == 200
        studio.clock.turn(minutes=50)
        assert answer(studio.confirm(first["media_id"]))["status"] == "ready"


class TestLooking:
    @pytest.mark.parametrize(
        ("content_type", "content"),
        {
            "image/png": b"<html><script>alert(1)</script></html>",
            "image/jpeg": picture("PNG"),
            "image/gif": b"GIF89a" + b"\x00" * 40,
            "image/webp": picture("WEBP")[:-40],
            "video/mp4": b"<!doctype html><p>not a film",
            "application/pdf": b"#!/bin/sh\necho not a document\n",
        }.items(),
    )  # fmt: skip
    def test_what_is_not_what_it_says_is_refused_and_removed(
        self, studio: Studio, content_type: str, content: bytes
    ) -> None:
        announced = studio.announce(content, content_type=content_type, filename="it")
        assert studio.put(announced["upload_url"], content, content_type) == 200
        refused = refusal(studio.confirm(announced["media_id"]), 422, "media_rejected")
        assert studio.left() == []
        item = answer(studio.get(f"/media/{announced['media_id']}"))
        assert (item["status"], item["url"]) == ("failed", None)
        assert refusal(studio.confirm(announced["media_id"]), 422, "media_rejected") == refused

    @pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "application/json", "x-a/b"])
    def test_kinds_that_begin_in_no_certain_way_are_taken(self, studio: Studio, content_type: str) -> None:
        assert studio.upload(b"\x00\x01 anything", content_type=content_type)["status"] == "ready"

    def test_a_picture_that_is_far_too_large_once_decoded_is_refused(self, studio: Studio) -> None:
        bomb = black("PNG", (12_000, 12_000))
        assert len(bomb) < 100_000
        announced = studio.announce(bomb, content_type="image/png", filename="bomb.png")
        assert studio.put(announced["upload_url"], bomb, "image/png") == 200
        refused = refusal(studio.confirm(announced["media_id"]), 422, "media_rejected")
        assert "too large" in refused["detail"]
        assert studio.left() == []

    def test_what_a_store_let_through_in_another_size_or_type_is_refused(self, studio: Studio) -> None:
        if studio.media.storage.upload_url(studio.place({"key": "k"}), "a/b", 1, 1) is None:
            announced = studio.announce()
            assert studio.put(announced["upload_url"], TEXT + b"more") == 422
            assert studio.put(announced["upload_url"], TEXT, "text/html") == 422
            assert studio.left() == []
            return
        for content, content_type in ((TEXT + b"more", "text/plain"), (TEXT, "text/html")):
            announced = studio.announce()
            studio.put(announced["upload_url"], content, content_type)
            refusal(studio.confirm(announced["media_id"]), 422, "media_rejected")
            assert studio.left() == []


_WRONG: list[dict[str, Any]] = [
    *(
        {"filename": name}
        for name in ("", " ", "../a", "/etc/passwd", "a/b", "a\\b", "..", ".", "a\x00b", "a\nb", "a\u202eb", "a\u200bb",
                     "a\ufeffb", "a\u2028b", "a" * 256)
    ),
    *(
        {"content_type": kind}
        for kind in ("", "text", "text/", "/plain", "text/plain; charset=utf-8", "a b/c", "a/b\r\nX: y",
                     "a/" + "b" * 60)
    ),
    *({"size_bytes": size} for size in (0, -1, 5 * 1024**3 + 1, 2**63 - 1, 1.5, "5", None, True)),
    {"content_type": "image/png", "size_bytes": 65 * 1024 * 1024},  # too large to be decoded
]  # fmt: skip


class TestAnnouncing:
    def test_a_path_for_a_name_no_type_and_no_size_are_refused(self, studio: Studio) -> None:
        for wrong in _WRONG:
            refusal(studio.try_to_announce(**wrong), 422, "invalid_input")
        studio.announce(content_type="video/mp4", size_bytes=65 * 1024 * 1024)

    @pytest.mark.parametrize(
        "filename",
        ["CON", "NUL.txt", ".htaccess", "-rf", "a" * 255, "Übung ☕️.txt", "写真.jpg", "👨‍👩‍👧.png", "a;b\"c'.txt",
         "%2e%2e%2f",         "Bildschirmfoto 2026-01-15 um 10.30.00\u202fPM.png"],
    )  # fmt: skip
    def test_any_other_name_is_a_label_and_comes_back_as_it_was(self, studio: Studio, filename: str) -> None:
        uploaded = studio.upload(filename=filename)
        assert answer(studio.get(f"/media/{uploaded['media_id']}"))["filename"] == filename
        assert studio.fetch(uploaded["url"]) == TEXT
        assert all(
            set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-./")
            for name in studio.left()
        )

    def test_a_tenant_is_one_of_this_organization_in_this_environment(self, studio: Studio) -> None:
        other = studio.world.org()
        mine, theirs = tenant(studio, studio.org), tenant(studio, other.id)
        tested = tenant(studio, studio.org, Environment.TEST)
        item = studio.announce(tenant_id=mine)
        shown = answer(studio.get(f"/media/{item['media_id']}"))
        assert shown["app_id"] == shown["tenant_id"] == mine
        for wrong in (theirs, tested, "tenant_aaaaaaaaaaaa"):
            refusal(studio.try_to_announce(tenant_id=wrong), 404, "tenant_not_found")

    def test_nobody_fills_the_table_with_files_that_never_come(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "MOST_UNFINISHED", 3)
        first = studio.announce()
        studio.announce()
        studio.announce()
        refusal(studio.try_to_announce(), 409, "too_many_uploads")
        studio.announce(side="/sandbox")
        studio.delete(first["media_id"])
        studio.announce()


class TestLists:
    def test_are_newest_first_and_go_on_with_the_cursor(self, studio: Studio) -> None:
        made = []
        for _ in range(5):
            made.append(studio.announce()["media_id"])
            studio.clock.turn(seconds=1)
        first = answer(studio.get(f"/media/org/{studio.org}?limit=3"))
        second = answer(studio.get(f"/media/org/{studio.org}?limit=3&cursor={first['next_cursor']}"))
        assert [item["media_id"] for item in first["items"] + second["items"]] == made[::-1]
        assert second["next_cursor"] is None
        assert list(first["items"][0]) == FIELDS

    def test_of_a_tenant_hold_its_files_only(self, studio: Studio) -> None:
        mine = tenant(studio, studio.org)
        item = studio.announce(tenant_id=mine)
        studio.announce()
        path = f"/media/tenant/{mine}"
        for query in ("", f"?org_id={studio.org}"):
            assert [one["media_id"] for one in answer(studio.get(path + query))["items"]] == [item["media_id"]]
        refusal(studio.get(f"{path}?org_id=org_aaaaaaaaaaaa"), 404, "tenant_not_found")


class TestDeleting:
    def test_a_deleted_file_is_gone_for_everybody_and_its_bytes_with_it(self, studio: Studio) -> None:
        uploaded = studio.upload(picture(), content_type="image/png", filename="a.png")
        media_id = uploaded["media_id"]
        images = answer(studio.get(f"/media/{media_id}/images"))
        assert studio.fetch(images["small"])
        assert answer(studio.delete(media_id)) == {"deleted": True}
        for path in ("", "/url", "/images"):
            refusal(studio.get(f"/media/{media_id}{path}"), 404, "media_not_found")
        refusal(studio.confirm(media_id), 404, "media_not_found")
        refusal(studio.delete(media_id), 404, "media_not_found")
        for url in (images["small"], images["medium"], images["original"], uploaded["url"]):
            assert studio.download(url).status_code in (403, 404)
        assert answer(studio.get(f"/media/org/{studio.org}"))["items"] == []
        assert studio.left() == []

    def test_an_upload_after_the_deletion_leaves_nothing_that_is_served(self, studio: Studio) -> None:
        announced = studio.announce()
        studio.delete(announced["media_id"])
        studio.put(announced["upload_url"], TEXT)
        refusal(studio.confirm(announced["media_id"]), 404, "media_not_found")
        assert [name for name in studio.left() if "/kept/" in name] == []

    def test_a_deletion_while_it_is_confirmed_leaves_nothing(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        announced = studio.announce()
        studio.put(announced["upload_url"], TEXT)
        settle = studio.media.storage.settle

        def settled(place: Any, upload: Upload) -> bool:
            done = settle(place, upload)
            studio.delete(announced["media_id"])
            return done

        monkeypatch.setattr(studio.media.storage, "settle", settled)
        refusal(studio.confirm(announced["media_id"]), 404, "media_not_found")
        assert studio.left() == []


class TestEnvironments:
    def test_a_file_of_one_side_is_not_there_on_the_other(self, studio: Studio) -> None:
        live, tested = studio.upload(), studio.upload(side="/sandbox")
        assert studio.get(f"/media/{live['media_id']}", "/sandbox").status_code == 404
        assert studio.get(f"/media/{tested['media_id']}").status_code == 404
        assert [one["media_id"] for one in answer(studio.get(f"/media/org/{studio.org}"))["items"]] == [
            live["media_id"]
        ]
        assert {name.partition("/")[0] for name in studio.left()} == {"live", "test"}
        assert studio.fetch(tested["url"]) == TEXT

    def test_a_picture_of_one_side_is_not_shown_on_the_other(self, studio: Studio) -> None:
        tested = studio.upload(picture(), "/sandbox", content_type="image/png", filename="a.png")
        assert studio.http.get(f"/sandbox/t/original/{tested['key']}").status_code in (200, 302)
        assert studio.http.get(f"/t/original/{tested['key']}").status_code == 404
        assert studio.http.get(f"/t/small/{tested['key']}").status_code == 404


class TestPictures:
    def test_addresses_are_given_in_every_size_and_all_of_them_show_it(self, studio: Studio) -> None:
        uploaded = studio.upload(picture(size=(2000, 1000)), content_type="image/png", filename="a.png")
        images = answer(studio.get(f"/media/{uploaded['media_id']}/images"))
        assert list(images) == ["media_id", "original", "thumbnail", "small", "medium", "large"]
        for variant in list(images)[1:]:
            assert path_of(images[variant]) == f"/t/{variant}/{uploaded['key']}"
            assert studio.download(images[variant]).status_code in (200, 302)

    def test_there_are_none_of_other_files(self, studio: Studio) -> None:
        uploaded = studio.upload()
        refusal(studio.get(f"/media/{uploaded['media_id']}/images"), 409, "media_wrong_state")
        for variant in ("original", "small"):
            refusal(studio.http.get(f"/t/{variant}/{uploaded['key']}"), 404, "media_not_found")

    def test_there_are_none_before_it_is_ready(self, studio: Studio) -> None:
        content = picture()
        announced = studio.announce(content, content_type="image/png")
        studio.put(announced["upload_url"], content, "image/png")
        refusal(studio.get(f"/media/{announced['media_id']}/images"), 409, "media_wrong_state")
        refusal(studio.get(f"/media/{announced['media_id']}/url"), 409, "media_wrong_state")
        refusal(studio.http.get(f"/t/small/{announced['key']}"), 404, "media_not_found")

    @pytest.mark.parametrize("path", ["/t/huge/{key}", "/t/small/{key}x", "/t/small/..%2f..%2fetc", "/t/small/a"])
    def test_an_address_that_is_none_shows_nothing(self, studio: Studio, path: str) -> None:
        uploaded = studio.upload(picture(), content_type="image/png", filename="a.png")
        assert studio.http.get(path.format(key=uploaded["key"])).status_code in (404, 422)


def tenant(studio: Studio, org_id: str, environment: Environment = Environment.LIVE) -> str:
    """Return the id of a new tenant."""
    request = TenantRequest(org_id=org_id, bundle_id="com.example.shop")
    with within(db.session, environment), writing(db.session):
        return create_tenant(db.session, studio.clock, SYSTEM, studio.world.core.sealing_keys, request).id
