"""The keys that seal: what they seal opens in its place only, and their file is whole or not there."""

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from mushu.server.errors import SealingFailed
from mushu.server.sealing.ring import Ring, SealingKeys, key_id_of
from mushu.testing.leaks import traces
from mushu.testing.processes import FINISHED, kill_at, steps_of


@pytest.fixture
def keys(tmp_path: Path) -> SealingKeys:
    return SealingKeys(tmp_path / "sealing_keys")


@pytest.fixture
def ring(keys: SealingKeys) -> Ring:
    keys.begin()
    return keys.load()


def _flip(sealed: str, index: int) -> str:
    content = bytearray(base64.urlsafe_b64decode(sealed.split(".")[2]))
    content[index] ^= 1
    return ".".join([*sealed.split(".")[:2], base64.urlsafe_b64encode(content).decode()])


class TestSealing:
    @pytest.mark.parametrize("text", ["", "x", "hunter2 ü\n" * 1000])
    def test_what_was_sealed_opens_where_it_belongs(self, ring: Ring, text: str) -> None:
        sealed = ring.seal(text, "table.column row")
        assert ring.unseal(sealed, "table.column row") == text
        assert "hunter2" not in sealed

    def test_the_same_text_never_looks_the_same(self, ring: Ring) -> None:
        assert len({ring.seal("hunter2", "a") for _ in range(100)}) == 100

    @pytest.mark.parametrize("context", ["table.column other", "table.other row", "", "table.column row "])
    def test_it_does_not_open_in_another_place(self, ring: Ring, context: str) -> None:
        sealed = ring.seal("hunter2", "table.column row")
        with pytest.raises(SealingFailed, match="moved it there from another row") as caught:
            ring.unseal(sealed, context)
        assert not [text for text in traces(caught.value) if "hunter2" in text]

    @pytest.mark.parametrize("index", [0, 11, 12, -1])
    def test_one_bit_changed_is_noticed(self, ring: Ring, index: int) -> None:
        with pytest.raises(SealingFailed, match="does not open"):
            ring.unseal(_flip(ring.seal("hunter2", "a"), index), "a")

    @pytest.mark.parametrize("rest", ["", "AAAA", "no base64!", "=", "ü"])
    def test_a_value_that_was_cut_is_noticed(self, ring: Ring, rest: str) -> None:
        with pytest.raises(SealingFailed, match="does not open"):
            ring.unseal(f"1.{ring.keys[0].id}.{rest}", "a")

    @pytest.mark.parametrize("sealed", ["", "hunter2", "2.00000000.AAAA", "1.00000000.AAAA", "1..", "...."])
    def test_what_nobody_here_sealed_names_the_file_to_restore(self, ring: Ring, sealed: str) -> None:
        with pytest.raises(SealingFailed, match="Restore") as caught:
            ring.unseal(sealed, "destinations.sealed_settings dst_x")
        assert str(ring.source) in caught.value.detail
        assert "hunter2" not in caught.value.detail

    def test_the_newest_key_seals_the_dropped_one_opens_nothing_and_their_names_cannot_be_exchanged(
        self, ring: Ring
    ) -> None:
        both = ring.with_new_key()
        old, new = ring.seal("hunter2", "a"), both.seal("hunter2", "a")
        assert [key_id_of(old), key_id_of(new)] == [both.keys[1].id, both.keys[0].id]
        with pytest.raises(SealingFailed):
            both.unseal(old.replace(ring.keys[0].id, both.keys[0].id), "a")
        assert both.unseal(old, "a") == both.unseal(new, "a") == "hunter2"
        assert both.newest_only().unseal(new, "a") == "hunter2"
        with pytest.raises(SealingFailed, match=ring.keys[0].id):
            both.newest_only().unseal(old, "a")

    def test_no_key_shows_itself(self, ring: Ring) -> None:
        shown = repr(ring) + str(ring) + repr(ring.keys[0]) + repr(SealingKeys(ring.source))
        assert ring.keys[0].line not in shown
        assert repr(ring.keys[0].material) not in shown
        assert ring.keys[0].id not in ring.keys[0].line


class TestTheFile:
    def test_it_is_for_this_account_only_holds_one_key_and_is_never_replaced_by_a_beginning(
        self, keys: SealingKeys
    ) -> None:
        assert keys.begin()
        assert keys.path.stat().st_mode & 0o777 == 0o600
        before = keys.path.read_bytes()
        assert len(before.splitlines()) == 1
        assert [path.name for path in keys.path.parent.iterdir()] == ["sealing_keys"]
        assert not keys.begin()
        assert keys.path.read_bytes() == before

    def test_of_many_beginning_at_once_all_have_the_same_key(self, keys: SealingKeys) -> None:
        start = Barrier(8)

        def begin(_: int) -> tuple[bool, str]:
            start.wait()
            began = keys.begin()
            return began, keys.load().keys[0].id

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(begin, range(8)))
        assert sum(began for began, _ in outcomes) == 1
        assert len({key_id for _, key_id in outcomes}) == 1

    def test_killed_anywhere_in_the_beginning_it_is_whole_or_not_there(self, keys: SealingKeys, tmp_path: Path) -> None:
        trial = SealingKeys(tmp_path / "trial")
        for number in steps_of(trial.begin, ("mushu",)):
            keys.path.unlink(missing_ok=True)
            assert kill_at(number, keys.begin, ("mushu",)) in (-9, FINISHED)
            if keys.exist():
                keys.load()
            else:
                assert keys.begin()
        with keys.locked():
            assert not list(tmp_path.glob(".sealing_keys.*.tmp")), "what the killed left is cleared away"

    def test_the_newest_stands_first_and_blank_lines_do_not_count(self, keys: SealingKeys, ring: Ring) -> None:
        keys.replace(ring.with_new_key())
        first, second = keys.path.read_text().splitlines()
        keys.path.write_text(f"{first}\r\n\n {second}\n\n")
        assert [key.line for key in keys.load().keys] == [first, second]

    @pytest.mark.parametrize(
        "content", [b"", b"\n", b"short\n", b"A" * 44, b"\xff" * 44, b"A" * 42 + b"==\nxx", b"A" * 21, b"\x00" * 44]
    )
    def test_a_damaged_one_is_refused_whole_and_said_to_be(self, keys: SealingKeys, content: bytes) -> None:
        keys.path.write_bytes(content)
        with pytest.raises(SealingFailed, match="Restore it from a backup") as caught:
            keys.load()
        assert str(keys.path) in caught.value.detail
        assert caught.value.__cause__ is caught.value.__context__ is None

    def test_one_bad_line_spoils_the_ring_and_is_not_shown(self, keys: SealingKeys, ring: Ring) -> None:
        keys.path.write_text(ring.keys[0].line + "\n" + ring.keys[0].line[:20] + "\n")
        with pytest.raises(SealingFailed) as caught:
            keys.load()
        assert not [text for text in traces(caught.value) if ring.keys[0].line in text]

    @pytest.mark.fault
    @pytest.mark.parametrize("mode", [0o602, 0o622], ids=oct)
    def test_one_that_others_could_have_written_is_not_believed(self, keys: SealingKeys, ring: Ring, mode: int) -> None:
        keys.path.chmod(mode)
        with pytest.raises(SealingFailed, match=r"Others may write to .*, and so change the sealing keys") as caught:
            keys.load()
        assert not [text for text in traces(caught.value) if ring.keys[0].line in text]

    @pytest.mark.fault
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_one_of_another_account_is_not_believed(self, keys: SealingKeys, ring: Ring) -> None:
        os.chown(keys.path, 65534, -1)
        with pytest.raises(SealingFailed, match="belongs to nobody, who could change the sealing keys"):
            keys.load()

    def test_a_missing_one_and_a_folder_in_its_place_say_so(self, keys: SealingKeys) -> None:
        with pytest.raises(SealingFailed, match="is missing"):
            keys.load()
        keys.path.mkdir()
        with pytest.raises(SealingFailed, match="cannot be read"):
            keys.load()
        with pytest.raises(SealingFailed, match="Nothing can be written"):
            SealingKeys(keys.path.parent / "nowhere" / "keys").begin()

    def test_replacing_keeps_the_link_and_who_may_read(self, keys: SealingKeys, ring: Ring, tmp_path: Path) -> None:
        keys.path.rename(tmp_path / "mounted")
        (tmp_path / "mounted").chmod(0o640)
        keys.path.symlink_to(tmp_path / "mounted")
        keys.replace(ring.with_new_key())
        assert keys.path.is_symlink()
        assert len(keys.load().keys) == 2
        assert (tmp_path / "mounted").stat().st_mode & 0o777 == 0o640

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_replacing_as_root_leaves_it_to_its_owner(self, keys: SealingKeys, ring: Ring) -> None:
        os.chown(keys.path, 65534, 65534)
        keys.replace(ring.with_new_key())
        assert (keys.path.stat().st_uid, keys.path.stat().st_gid) == (65534, 65534)
