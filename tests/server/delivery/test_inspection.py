"""What a place is called everywhere, and what a look at it finds."""

from pathlib import Path

import pytest

from mushu.keyformat import Prefix, generate
from mushu.secret import Secret
from mushu.server.delivery.inspection import ContentKind, inspect, true_uri
from mushu.server.errors import Invalid
from tests.server.delivery.conftest import Post
from tests.server.delivery.shelf import Crash, Shelf, crash, fail, leak_foreign, refuse


class TestTheTrueUri:
    @pytest.mark.parametrize(
        ("uri", "true"),
        [
            ("env:.env", "env:{}/.env#MUSHU_API_KEY"),
            ("env:app/../.env#KEY", "env:{}/.env#KEY"),
            ("env:/srv/./app/.env", "env:/srv/app/.env#MUSHU_API_KEY"),
            ("env:/srv/app/.env#KEY", "env:/srv/app/.env#KEY"),
        ],
    )
    def test_is_absolute_and_in_one_spelling(self, tmp_path: Path, uri: str, true: str) -> None:
        assert true_uri(uri, {}, tmp_path) == true.format(tmp_path)

    def test_two_links_to_one_file_are_two_places_because_the_plugin_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        spellings = {true_uri(f"env:{name}/.env", {}, tmp_path) for name in ("real", "link", "link/../real")}
        assert spellings == {f"env:{tmp_path}/{name}/.env#MUSHU_API_KEY" for name in ("real", "link")}

    @pytest.mark.parametrize("uri", ["", "nosuch:thing", "/srv/.env", "env:", "env://host/x", "env:/x#not a name"])
    def test_what_names_no_place_is_refused(self, tmp_path: Path, uri: str) -> None:
        with pytest.raises(Invalid) as caught:
            true_uri(uri, {}, tmp_path)
        assert caught.value.field == "uri"

    def test_a_key_in_it_is_not_repeated(self, tmp_path: Path) -> None:
        key = generate(Prefix.LIVE_KEY).reveal()
        for uri in (key, f"env:/srv/{key}"):
            with pytest.raises(Invalid) as caught:
                true_uri(uri, {}, tmp_path)
            assert key not in caught.value.detail

    def test_the_plugin_has_the_settings_that_the_place_will_have(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MUSHU_ENV_TIMEOUT", "not a number")
        with pytest.raises(Invalid, match="timeout"):
            true_uri("env:.env", {}, tmp_path)
        assert true_uri("env:.env", {"timeout": Secret("5")}, tmp_path)


class TestAnInspection:
    def test_finds_nothing_a_living_key_a_dead_one_or_a_foreign_value(self, post: Post, shelf: Shelf) -> None:
        found = inspect(post.session, shelf.open, "fake:a")
        assert (found.holds, found.key, found.faults) == (ContentKind.NOTHING, None, [])
        assert shelf.calls == ["preflight fake:a", "read fake:a"], "and nothing is written"
        key = post.deliver("fake:a")
        found = inspect(post.session, shelf.open, "fake:a")
        assert (found.holds, found.key, found.faults) == (ContentKind.KEY, key, [])
        post.delete(key.id, keep_value=True)
        found = inspect(post.session, shelf.open, "fake:a")
        assert (found.holds, found.faults) == (ContentKind.KEY, [])
        assert found.key is not None
        assert found.key.stored_state == "revoked"
        shelf.values["fake:a"] = "theirs"
        found = inspect(post.session, shelf.open, "fake:a")
        assert (found.holds, found.key) == (ContentKind.FOREIGN, None)
        assert "did not put there" in found.faults[0]
        assert "theirs" not in repr(found)

    @pytest.mark.parametrize("value", ["theirs", None])
    def test_where_the_key_is_gone(self, post: Post, shelf: Shelf, value: str | None) -> None:
        key = post.deliver("fake:a")
        shelf.put("test", "fake:a", value)
        found = inspect(post.session, shelf.open, "fake:a")
        assert f"By the ledger {key.id} (backend) is there, and it is not." in found.faults

    def test_tells_what_is_in_the_way_and_lets_nothing_of_a_careless_plugin_out(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("preflight fake:a", refuse)
        found = inspect(post.session, shelf.open, "fake:a")
        assert (found.holds, found.faults) == (ContentKind.NOTHING, ["It refuses for good."])
        shelf.plan("read fake:a", fail)
        assert inspect(post.session, shelf.open, "fake:a").faults == ["It timed out."]
        post.deliver("fake:a")
        shelf.plan("preflight fake:a", leak_foreign)
        found = inspect(post.session, shelf.open, "fake:a")
        assert found.faults == ["The destination plugin failed unexpectedly (ValueError). Tell its maker."]
        shelf.unreachable.add("fake:a")
        found = inspect(post.session, shelf.open, "fake:a")
        assert (found.holds, found.faults) == (None, ["It does not answer."])
        assert inspect(post.session, shelf.open, "nosuch:a").holds is None

    def test_that_is_interrupted_leaves_no_transaction_open(self, post: Post, shelf: Shelf) -> None:
        shelf.plan("read fake:a", crash)
        with pytest.raises(Crash):
            inspect(post.session, shelf.open, "fake:a")
        assert not post.session.in_transaction()
