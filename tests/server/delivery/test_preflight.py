"""Before a key is minted: every place is named, can be written to, and holds nothing that would be lost."""

import pytest

from mushu.server.audit import SYSTEM
from mushu.server.db import writing
from mushu.server.delivery import ledger
from mushu.server.errors import DeliveryFailed, DestinationHeld, Invalid, OrgNotFound
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DISABLE
from tests.server.delivery.conftest import Post
from tests.server.delivery.shelf import Fault, Shelf, after, before, fail, leak_chained, leak_foreign, refuse
from tests.server.verbs import issue_to

pytestmark = pytest.mark.database


class TestRequest:
    @pytest.mark.parametrize(
        "uris", [[], ["fake:a", "fake:a"], ["fake:a", "fake:a/"], ["fake:"], ["other:a"], ["no uri"], ["fake:a", ""]]
    )
    def test_a_place_that_is_none_or_named_twice_is_refused_before_anything_is_minted(
        self, post: Post, shelf: Shelf, uris: list[str]
    ) -> None:
        with pytest.raises(Invalid) as caught:
            post.deliver(*uris)
        assert caught.value.field == "deliver_to"
        assert post.all_keys() == []
        assert shelf.calls == []

    def test_a_bad_name_mints_nothing_and_writes_nothing(self, post: Post, shelf: Shelf) -> None:
        with pytest.raises(Invalid):
            issue_to(post.context(), KeyRequest(org_id=post.org_id, name=" "), ["fake:a"])
        assert post.all_keys() == []
        assert shelf.did("write") == []

    @pytest.mark.parametrize("call", ["preflight fake:b", "read fake:b"])
    @pytest.mark.parametrize("fault", [refuse, fail, leak_foreign, leak_chained])
    def test_a_place_that_cannot_be_written_to_mints_nothing(
        self, post: Post, shelf: Shelf, call: str, fault: Fault
    ) -> None:
        shelf.plan(call, fault)
        with pytest.raises(DeliveryFailed, match=r"^fake:b: .* Nothing was minted\."):
            post.deliver("fake:a", "fake:b")
        assert post.all_keys() == []
        assert shelf.did("write") == []

    def test_an_organization_that_was_deleted_meanwhile_gets_no_key(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("read fake:a", after(post.another().delete_org))
        with pytest.raises(OrgNotFound):
            post.deliver("fake:a")
        assert post.all_keys() == []
        assert shelf.did("write") == []


class TestWhatIsHeld:
    def test_a_foreign_value_is_not_overwritten_but_with_force(self, post: Post, shelf: Shelf) -> None:
        shelf.values["fake:b"] = "theirs"
        with pytest.raises(DestinationHeld, match="Mushu did not put there"):
            post.deliver("fake:a", "fake:b")
        assert shelf.values == {"fake:b": "theirs"}
        assert post.all_keys() == []
        key = post.deliver("fake:b", force=True)
        assert shelf.digest_at("fake:b") == key.digest

    def test_a_foreign_value_that_comes_at_the_last_moment_is_not_overwritten_even_with_force(
        self, post: Post, shelf: Shelf
    ) -> None:
        shelf.plan("write fake:b", before(lambda: shelf.put("test", "fake:b", "theirs")))
        with pytest.raises(DeliveryFailed):
            post.deliver("fake:a", "fake:b", force=True)
        assert shelf.values == {"fake:b": "theirs"}
        assert post.only_key().stored_state == "failed"

    @pytest.mark.parametrize("disabled", [False, True])
    def test_a_living_key_is_not_overwritten_but_with_force_and_a_dead_one_is(
        self, post: Post, shelf: Shelf, disabled: bool
    ) -> None:
        key = post.deliver("fake:a")
        if disabled:
            with writing(post.session):
                change_state(post.session, post.clock, SYSTEM, key.id, DISABLE)
        with pytest.raises(DestinationHeld, match=key.id):
            post.deliver("fake:a")
        assert shelf.digest_at("fake:a") == key.digest
        successor = post.deliver("fake:a", force=True)
        assert shelf.digest_at("fake:a") == successor.digest
        post.delete(successor.id, keep_value=True)
        assert shelf.digest_at("fake:a") == successor.digest
        key = post.deliver("fake:a")
        assert shelf.digest_at("fake:a") == key.digest

    def test_a_pending_key_that_lies_elsewhere_than_the_ledger_says_is_not_overwritten(
        self, post: Post, shelf: Shelf
    ) -> None:
        with writing(post.session):
            key, secret = mint_key(post.session, post.clock, SYSTEM, KeyRequest(org_id=post.org_id, name="k"))
        shelf.values["fake:a"] = secret.reveal()
        with pytest.raises(DestinationHeld, match=key.id):
            post.deliver("fake:a")

    def test_a_place_that_another_process_is_writing_to_is_left_to_it(self, post: Post, shelf: Shelf) -> None:
        caught: list[str] = []

        def intrude() -> None:
            with pytest.raises(DestinationHeld) as refusal:
                post.another().deliver("fake:b", "fake:a", force=True)
            caught.append(str(refusal.value))

        shelf.plan("write fake:a", before(intrude))
        key = post.deliver("fake:a")
        assert len(post.all_keys()) == 1
        assert shelf.values.keys() == {"fake:a"}
        assert key.id in caught[0]
        assert "2026-01-15T10:31:00Z" in caught[0]

    def test_nor_does_it_matter_if_the_database_has_to_find_out(
        self, post: Post, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on PostgreSQL, where two can look at the same moment."""

        def intrude() -> None:
            with monkeypatch.context() as patch:
                patch.setattr(ledger, "find_at_work", lambda *_: None)
                with pytest.raises(DestinationHeld, match="Try again"):
                    post.another().deliver("fake:a")

        shelf.plan("write fake:a", before(intrude))
        post.deliver("fake:a")
        assert len(post.all_keys()) == 1
