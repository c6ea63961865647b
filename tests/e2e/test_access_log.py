"""The access log of real workers: whole lines of all in one file, which may be moved, and none lost by SIGTERM."""

import json
import socket
import time
from collections import Counter
from pathlib import Path

from tests.e2e.conftest import Start

REQUESTS = 40


def test_workers_share_a_file_that_is_rotated_and_write_all_before_they_end(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    server = start(MUSHU_WORKERS="2", MUSHU_ACCESS_LOG="all", MUSHU_ACCESS_LOG_FILE=str(file)).wait_until_up()
    key = {"Authorization": f"ApiKey {server.key}"}
    for number in range(REQUESTS):
        assert server.get(f"/orgs?limit={number + 1}", key | {"X-Request-Id": f"request-{number:04}"}) == 200
        if number == REQUESTS // 2:
            time.sleep(1.1)  # until the first are written
            file.rename(tmp_path / "access.log.1")
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(f"{server.key} /{server.key} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {server.key}\r\n\r\n".encode())
        assert raw.recv(1 << 16).startswith(b"HTTP/1.1 404")
    assert server.stop() == 0
    text = "".join(path.read_text() for path in tmp_path.glob("access.log*"))
    rows = [json.loads(line) for line in text.splitlines()]
    ids = Counter(row["request_id"] for row in rows if row["route"] == "/orgs")
    assert ids == Counter(f"request-{number:04}" for number in range(REQUESTS))
    assert [row["method"] for row in rows if row["route"] is None] == ["other"]
    assert server.key not in text
    assert server.key not in server.output.read_text()
