"""What housekeeping does for media, with a folder and with a bucket: nothing that nobody may see stays."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.environments import within
from mushu.server.errors import MediaNotFound, StorageUnavailable
from mushu.server.resources.media.models import MediaItem, Status
from mushu.server.resources.media.service import delete_media_of_org
from mushu.server.resources.media.storage import ObjectKey
from mushu.server.resources.media.uploading import Cleaned, clean_storage
from tests.server.resources.media.studio import KINDS, TEXT, Studio, fresh, is_bucket, open_studio, picture
from tests.server.web.asking import execute, refusal

pytestmark = pytest.mark.database


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database_template: str | Path
) -> Iterator[Studio]:
    yield from open_studio(request.param, tmp_path_factory.mktemp("studio"), database_template)


@pytest.fixture
def studio(shared: Studio) -> Studio:
    execute("DELETE FROM media")
    return fresh(shared)


def clean(studio: Studio) -> Cleaned:
    return clean_storage(db.session, studio.clock, studio.media.storage)


def rows() -> int:
    with within(db.session, Environment.LIVE), reading(db.session):
        return db.session.scalar(select(func.count()).select_from(MediaItem)) or 0


def test_what_never_came_is_given_up_and_forgotten_after_a_month(studio: Studio) -> None:
    announced = studio.announce()
    studio.clock.turn(hours=2)
    assert not clean(studio), "an upload that began in time may still be on its way"
    studio.clock.turn(seconds=1)
    assert clean(studio).given_up == 1
    item = studio.item(announced["media_id"])
    assert (item.status, item.failure) == (Status.FAILED, "It was not uploaded and confirmed in time.")
    refusal(studio.confirm(announced["media_id"]), 422, "media_rejected")
    assert not clean(studio)
    studio.clock.turn(days=30)
    clean(studio)
    assert rows() == 0


def test_what_came_and_was_never_confirmed_is_given_up_with_its_bytes(studio: Studio) -> None:
    announced = studio.announce()
    studio.put(announced["upload_url"], TEXT)
    assert len(studio.left()) == 1
    studio.clock.turn(hours=2, seconds=1)
    clean(studio)
    assert studio.left() == []


def test_what_is_ready_is_never_touched(studio: Studio) -> None:
    uploaded = studio.upload(picture(), content_type="image/png", filename="a.png")
    studio.clock.turn(days=400)
    assert not clean(studio)
    assert studio.item(uploaded["media_id"]).status == Status.READY
    assert len(studio.left()) == 1


def test_what_could_not_be_removed_is_removed_by_the_next_round(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded = studio.upload()

    def away(_: ObjectKey) -> None:
        raise StorageUnavailable("The disk is away.")

    with monkeypatch.context() as patch:
        patch.setattr(studio.media.storage, "remove", away)
        assert studio.delete(uploaded["media_id"]).status_code == 200
        assert len(studio.left()) == 1
        refusal(studio.get(f"/media/{uploaded['media_id']}"), 404, "media_not_found")
        with pytest.raises(StorageUnavailable):
            clean(studio)
    assert clean(studio).removed == 1
    assert studio.left() == []


def test_what_arrives_after_the_deletion_is_removed_by_the_second_look_and_the_row_goes(studio: Studio) -> None:
    announced = studio.announce()
    studio.put(announced["upload_url"], TEXT)
    found = studio.media.storage.find_upload(studio.place(announced))
    assert found is not None
    studio.delete(announced["media_id"])
    clean(studio)
    if is_bucket(studio):
        studio.put(announced["upload_url"], TEXT)
    else:
        studio.media.storage.receive(studio.place(announced), len(TEXT), iter([TEXT]))
    studio.clock.turn(minutes=59)
    clean(studio)
    assert (len(studio.left()), rows()) == (1, 1)
    studio.clock.turn(minutes=1)
    clean(studio)
    assert (studio.left(), rows()) == ([], 0)


def test_media_of_a_deleted_organization_are_gone_in_both_environments(studio: Studio) -> None:
    live, tested = studio.upload(), studio.upload(side="/sandbox")
    with writing(db.session):
        delete_media_of_org(db.session, studio.clock, SYSTEM, studio.org)
    for media_id, environment in ((live["media_id"], Environment.LIVE), (tested["media_id"], Environment.TEST)):
        with pytest.raises(MediaNotFound):
            studio.item(media_id, environment)
    assert clean(studio).removed == 2
    assert studio.left() == []


def test_a_row_that_was_forgotten_frees_its_idempotency_key(studio: Studio) -> None:
    once = {"Idempotency-Key": "again"}
    first = studio.announce(headers=once)
    studio.delete(first["media_id"])
    studio.clock.turn(hours=1)
    clean(studio)
    assert studio.announce(headers=once)["media_id"] != first["media_id"]
