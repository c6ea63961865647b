"""Connections whose client takes no answer are ended; all others are left alone. Real sockets, and a clock of ours."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mushu.server.operation import serving
from mushu.server.operation.serving import StalledConnections

pytestmark = pytest.mark.skipif(not serving.SUPPORTED, reason="only Linux tells how far a connection is")


@dataclass
class Pair:
    """A connection to a port that is watched: what the server holds, and what the client does."""

    server: socket.socket
    client: socket.socket
    watch: StalledConnections

    def answer(self) -> None:
        """Send until the client's side and ours are full."""
        self.server.setblocking(False)
        try:
            while True:
                self.server.send(b"x" * 65536)
        except BlockingIOError:
            pass

    @property
    def is_open(self) -> bool:
        try:
            return self.server.send(b"") == 0
        except OSError:
            return False


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listening.getsockname())
        server, _ = listening.accept()
        with server:
            yield Pair(server, client, StalledConnections(listening.getsockname()[1], 30, 1024))


def test_an_answer_that_is_not_taken_is_ended_after_its_time_and_not_before(pair: Pair) -> None:
    pair.answer()
    assert [pair.watch.look(now) for now in (0.0, 15.0, 29.9)] == [0, 0, 0]
    assert pair.is_open
    assert pair.watch.look(30.1) == 1
    assert not pair.is_open


def test_an_answer_that_is_taken_byte_by_byte_is_ended(pair: Pair) -> None:
    pair.answer()
    for now in range(30):
        assert pair.watch.look(float(now)) == 0
        pair.client.recv(1)
    assert pair.watch.look(31.0) == 1


def test_an_answer_that_is_taken_slowly_goes_on(pair: Pair) -> None:
    for now in range(0, 600, 10):
        pair.answer()
        assert pair.watch.look(float(now)) == 0
        taken = 0
        while taken < 64 * 1024:
            taken += len(pair.client.recv(4096))
    assert pair.is_open


def test_a_connection_that_rests_is_left_alone(pair: Pair) -> None:
    for now in (0.0, 100.0, 10_000.0):
        assert pair.watch.look(now) == 0
    assert pair.is_open


def test_a_connection_of_another_port_is_left_alone(pair: Pair) -> None:
    pair.answer()
    other = StalledConnections(1, 30, 1024)
    assert [other.look(0.0), other.look(100.0)] == [0, 0]
    assert pair.is_open


def test_looking_closes_nothing_and_opens_nothing(pair: Pair) -> None:
    pair.answer()
    before = sorted(serving._sockets())
    for now in range(20):
        pair.watch.look(float(now))
    assert sorted(serving._sockets()) == before
