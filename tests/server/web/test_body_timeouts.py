"""Bodies are read with a deadline: whatever a client does, the thread of its request is free again."""

import io
import threading

import pytest
from werkzeug.exceptions import RequestTimeout

from mushu.server.errors import Busy
from mushu.server.resources.media.storage import CHUNK
from mushu.server.web.body_timeouts import Pace, PacedBody, Readers, Stream

_LONG = 30


class Silent:
    """Gives some bytes, and then nothing until it is let go, as a connection does when it ends."""

    def __init__(self, begins: bytes = b"") -> None:
        self.left = begins
        self.ended = threading.Event()

    def read(self, size: int, /) -> bytes:
        some, self.left = self.left[:size], self.left[size:]
        if not some:
            self.ended.wait(_LONG)
        return some


def body(source: Stream, patience: float = _LONG) -> PacedBody:
    return PacedBody(source, Readers(), Pace(patience, 1024))


def test_a_body_is_read_as_it_was_sent() -> None:
    content = bytes(range(256)) * 4096
    assert body(io.BytesIO(content)).read() == content
    assert body(io.BytesIO(content)).collect(1000) == content[:1000]
    assert body(io.BytesIO(b"")).read() == b""


def test_what_is_put_back_is_read_again() -> None:
    paced = body(io.BytesIO(b"abcdef"))
    paced.put_back(paced.collect(4))
    assert (paced.read(2), paced.read()) == (b"ab", b"cdef")


def test_a_body_that_does_not_come_is_given_up() -> None:
    source = Silent(b"{")
    paced = body(source, patience=1)
    assert paced.read(1) == b"{"
    with pytest.raises(RequestTimeout):
        paced.read(1)
    assert isinstance(paced.ended_by, RequestTimeout)
    source.ended.set()


def test_a_body_that_trickles_is_given_up_and_read_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    now, sizes = [1.0], []

    class Trickle:
        def read(self, size: int, /) -> bytes:
            sizes.append(size)
            now[0] += size / 10
            return b"x" * size

    paced = body(Trickle(), patience=60)
    monkeypatch.setattr("mushu.server.web.body_timeouts.time.monotonic", lambda: now[0])
    with pytest.raises(RequestTimeout):
        paced.read()
    assert max(sizes) <= 4096


def test_a_slow_body_that_keeps_moving_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now, left = [1.0], [10 * 1024**2]

    class Slow:
        def read(self, size: int, /) -> bytes:
            size = min(size, left[0])
            left[0] -= size
            now[0] += size / 1500  # two hours in all
            return b"x" * size

    paced = body(Slow(), patience=30)
    monkeypatch.setattr("mushu.server.web.body_timeouts.time.monotonic", lambda: now[0])
    assert sum(len(piece) for piece in iter(lambda: paced.read(CHUNK), b"")) == 10 * 1024**2


def test_a_body_that_flows_is_read_in_large_pieces() -> None:
    paced = body(io.BytesIO(b"x" * 20 * CHUNK), patience=30)
    sizes = [len(piece) for piece in iter(lambda: paced.read(CHUNK), b"")]
    assert sum(sizes) == 20 * CHUNK
    assert max(sizes) == 30 * 1024, "what the slowest client brings in the time that it has"


def test_a_body_that_is_waited_for_can_give_way() -> None:
    source, raised = Silent(), []
    paced = body(source)

    def wait() -> None:
        try:
            paced.read(1)
        except Busy as reason:
            raised.append(reason)

    waiting = threading.Thread(target=wait)
    waiting.start()
    reason = Busy("There is no room.")
    paced.give_way(reason)
    waiting.join(_LONG)
    assert raised == [reason]
    source.ended.set()


def test_threads_that_read_are_used_again() -> None:
    readers, before = Readers(), threading.active_count()
    for _ in range(50):
        assert readers.submit(lambda: b"x").result(_LONG) == b"x"
    assert threading.active_count() < before + 25, "those of tests before may end meanwhile"


def test_what_a_read_raises_reaches_who_waits() -> None:
    def broken() -> bytes:
        raise OSError("connection reset")

    with pytest.raises(OSError, match="reset"):
        Readers().submit(broken).result(_LONG)
