"""Files on their way: where they go, what goes along, and what happens when it breaks off."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mushu.cli.client import transfer
from mushu.cli.client.transfer import guessed_type
from tests.cli.conftest import ORG, Mushu
from tests.cli.stub import Asked, Stub, Told, problem, serving
from tests.cli.test_main import Terminal

ITEM = {"media_id": "media_1", "status": "ready", "url": "http://127.0.0.1/t/original/k", "key": "o/m/photo.png"}
CONTENT = b"\x89PNG" + bytes(range(256)) * 4_000
UPLOAD = ("media", "upload", "photo.png", "--org", ORG)


@pytest.fixture
def bucket() -> Iterator[Stub]:
    """The storage, on another port than the server."""
    with serving() as served:
        served.tell("PUT", "/photo.png", Told(b""))
        yield served


@pytest.fixture
def photo(asking: Stub, bucket: Stub) -> Path:
    """A file that the server takes, into the bucket."""
    path = Path("photo.png")
    path.write_bytes(CONTENT)
    offer(asking, f"{bucket.url}/photo.png?signature=s3cret")
    asking.tell("POST", "/media/media_1/confirm", ITEM)
    return path


def offer(server: Stub, address: str, prefix: str = "") -> None:
    answer = {"media_id": "media_1", "upload_url": address, "key": ITEM["key"], "expires_in": 3600}
    server.tell("POST", f"{prefix}/media/upload-url", answer)


def test_a_file_is_announced_sent_where_the_server_says_and_confirmed(
    mushu: Mushu, asking: Stub, bucket: Stub, photo: Path
) -> None:
    ran = mushu(*UPLOAD)
    assert (ran.code, ran.stdout, ran.stderr) == (0, f"media_1  {ITEM['url']}\n", "")
    announced = asking.asked_for("POST", "/media/upload-url")[0]
    assert announced.json == {
        "org_id": ORG, "filename": "photo.png", "content_type": "image/png", "size_bytes": len(CONTENT),
    }  # fmt: skip
    (put,) = bucket.asked
    assert (put.body, put.query) == (CONTENT, {"signature": ["s3cret"]})
    assert put.headers["content-type"] == "image/png"
    assert put.headers["content-length"] == str(len(CONTENT))
    assert [asked.path for asked in asking.asked] == ["/media/upload-url", "/media/media_1/confirm"]
    assert mushu(*UPLOAD, "--json").json == ITEM, "the key of a file is its place, and no secret"


def test_no_credential_goes_along_to_the_storage(
    mushu: Mushu, asking: Stub, bucket: Stub, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.cli.test_request_credential import KEY

    assert mushu(*UPLOAD).code == 0
    monkeypatch.setenv("MUSHU_API_KEY", KEY)
    asking.tell("GET", "/orgs", {"orgs": [{"org_id": ORG}]})
    assert mushu("media", "upload", "photo.png").code == 0
    assert asking.asked[-1].headers["authorization"] == f"ApiKey {KEY}"
    assert len(bucket.asked) == 2
    for put in bucket.asked:
        assert not {"authorization", "x-api-key", "cookie"} & set(put.headers)
        assert "mct_" not in str(put.headers)
        assert "msk_" not in str(put.headers)


def test_a_file_is_never_whole_in_memory(mushu: Mushu, asking: Stub, bucket: Stub, photo: Path) -> None:
    import tracemalloc

    size = 64 << 20
    with photo.open("wb") as file:
        file.truncate(size)
    bucket.tell("PUT", "/photo.png", lambda asked: Told(b"") if len(asked.body) == size else Told(b"", 400))

    class Silent:
        def read(self, length: int) -> bytes:
            return bytes(length)

    moved: list[int] = []
    tracemalloc.start()
    for chunk in transfer._chunks(Silent(), size, moved.append):  # type: ignore[arg-type]
        assert len(chunk) <= 1 << 18
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(moved) == size
    assert peak < 4 << 20
    assert mushu(*UPLOAD).code == 0


@pytest.mark.parametrize(
    ("made", "sentence"),
    [("nothing", "No such file"), ("folder", "is no file"), ("empty", "is empty"), ("pipe", "is no file")],
)
def test_what_is_no_file_or_an_empty_one_is_not_announced(mushu: Mushu, asking: Stub, made: str, sentence: str) -> None:
    path = Path("photo.png")
    make: dict[str, Any] = {"folder": path.mkdir, "empty": path.touch, "pipe": lambda: os.mkfifo(path)}
    make.get(made, lambda: None)()
    mushu(*UPLOAD).fails(sentence, code=2)
    assert asking.asked == []


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (Told(b"<Error><Code>AccessDenied</Code></Error>", 403), "The storage refused (HTTP 403)."),
        (Told(b"<Error/>", 503), "The storage refused (HTTP 503)."),
        (Told(b"", 307, {"Location": "http://127.0.0.1:1/"}), "The storage refused (HTTP 307)."),
        (problem(422, "invalid_input", "These are not the bytes of a PNG."), "These are not the bytes of a PNG."),
        (Told(b"x" * (1 << 20), 500), "The storage refused (HTTP 500)."),
    ],
    ids=range(5),
)
def test_a_storage_that_refuses_says_why_and_what_to_do(
    mushu: Mushu, asking: Stub, bucket: Stub, photo: Path, told: Told, sentence: str
) -> None:
    bucket.tell("PUT", "/photo.png", told)
    ran = mushu(*UPLOAD).fails()
    assert ran.stderr == f"Error: {sentence} Nothing was stored: run the command again.\n"
    assert "s3cret" not in ran.stderr
    assert asking.asked_for("POST", "/media/media_1/confirm") == []


NOT_AN_ADDRESS = "the address of the file is none"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("file:///etc/passwd", NOT_AN_ADDRESS),
        ("/media/blob", NOT_AN_ADDRESS),
        ("https://user:s3cret@example.com/", NOT_AN_ADDRESS),
        ("http://", NOT_AN_ADDRESS),
        ("ftp://example.com/x", NOT_AN_ADDRESS),
        ("x", NOT_AN_ADDRESS),
        ("http://bucket.example.com/x", "http://bucket.example.com is plain http: everybody on the way could read the"),
        ("http://127.0.0.1:9/photo.png?signature=s3cret", "Nothing listens at http://127.0.0.1:9."),
    ],
)
def test_an_address_that_is_none_or_not_safe_or_not_there_is_told_without_its_signature(
    mushu: Mushu, asking: Stub, photo: Path, address: str, sentence: str
) -> None:
    offer(asking, address)
    assert "s3cret" not in mushu(*UPLOAD).fails(sentence).stderr


def test_a_file_that_arrived_and_is_not_confirmed_can_be_confirmed_later(
    mushu: Mushu, asking: Stub, photo: Path, impatient: None
) -> None:
    trouble = Told(b"", 502, {"Content-Type": "text/html"})
    asking.tell("POST", "/media/media_1/confirm", trouble)
    mushu(*UPLOAD).fails("The file has arrived: `mushu media confirm media_1`.")
    asking.tell("POST", "/media/media_1/confirm", trouble, ITEM)
    assert mushu("media", "confirm", "media_1").json == ITEM


def test_a_file_that_shrinks_on_the_way_is_not_taken_for_the_one_that_was_announced(
    mushu: Mushu, asking: Stub, photo: Path, bucket: Stub
) -> None:
    def shorten(asked: Asked) -> Told:
        photo.write_bytes(b"short")
        answer = {"media_id": "media_1", "upload_url": f"{bucket.url}/photo.png", "expires_in": 3600}
        return Told(answer)

    asking.tell("POST", "/media/upload-url", shorten)
    mushu(*UPLOAD).fails("The file became shorter while it was sent.")
    assert asking.asked_for("POST", "/media/media_1/confirm") == []


def test_a_file_of_a_tenant_goes_to_the_side_on_which_the_tenant_stands(
    mushu: Mushu, asking: Stub, bucket: Stub, photo: Path
) -> None:
    asking.problem("POST", "/media/upload-url", 404, "tenant_not_found", "There is no live tenant.")
    offer(asking, f"{bucket.url}/photo.png", "/sandbox")
    asking.tell("POST", "/sandbox/media/media_1/confirm", ITEM)
    mushu(*UPLOAD, "--tenant", "tenant_1").ok()
    assert asking.asked_for("POST", "/sandbox/media/upload-url")[0].json["tenant_id"] == "tenant_1"
    mushu(*UPLOAD, "--env", "test").ok()
    sent = len(bucket.asked)
    ran = mushu(*UPLOAD, "--tenant", "tenant_1", "--env", "live")
    assert (ran.code, ran.stderr) == (1, "Error: There is no live tenant.\n")
    assert len(bucket.asked) == sent, "what is refused is not sent"


def test_a_terminal_sees_how_far_it_is_and_a_pipe_does_not(photo: Path, asking: Stub) -> None:
    terminal = Terminal(*UPLOAD)
    assert terminal.end() == 0
    assert "photo.png" in terminal.seen
    assert "100%" in terminal.seen


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.png", "image/png"), ("a.JPG", "image/jpeg"), ("a.webp", "image/webp"), ("a.heic", "image/heic"),
        ("a.mp4", "video/mp4"), ("a.mov", "video/quicktime"), ("a.pdf", "application/pdf"), ("a.txt", "text/plain"),
        ("a", "application/octet-stream"), ("a.nothing-known", "application/octet-stream"),
    ],
)  # fmt: skip
def test_what_a_file_is_is_told_by_its_name(name: str, wanted: str) -> None:
    assert guessed_type(Path(name)) == wanted


def test_files_of_both_sides_are_listed_together_and_each_is_found(mushu: Mushu, asking: Stub) -> None:
    def item(number: int, kind: str) -> dict[str, Any]:
        return {
            "media_id": f"media_{number}", "filename": "photo.png", "media_type": kind, "status": "ready", "key": "k",
            "size_bytes": 7, "environment": "live", "created_at": f"2026-01-{number:02}T10:30:00Z",
        }  # fmt: skip

    asking.tell("GET", f"/media/org/{ORG}", {"items": [item(1, "image")], "next_cursor": None})
    asking.tell("GET", f"/sandbox/media/org/{ORG}", {"items": [item(2, "video")], "next_cursor": None})
    listed = mushu("media", "list", "--org", ORG)
    assert [row[0] for row in listed.rows] == ["MEDIA_ID", "media_2", "media_1"]
    assert mushu("media", "list", "--org", ORG, "--type", "video", "--json").json == [item(2, "video")]
    asking.problem("GET", "/media/media_2", 404, "media_not_found", "No.")
    asking.tell("GET", "/sandbox/media/media_2", item(2, "video"))
    assert mushu("media", "show", "media_2").json == item(2, "video")
    asking.tell("GET", "/media/tenant/tenant_1", {"items": [item(1, "image")], "next_cursor": None})
    assert len(mushu("media", "list", "--tenant", "tenant_1", "--json").json) == 1
    asking.tell("DELETE", "/media/media_1", {"deleted": True})
    assert mushu("media", "delete", "media_1", "--yes").json == {"media_id": "media_1", "deleted": True}


def test_addresses_are_printed_plain_for_a_script(mushu: Mushu, asking: Stub) -> None:
    sizes = {
        size: f"https://m.example.com/t/{size}/k" for size in ("original", "thumbnail", "small", "medium", "large")
    }
    asking.tell("GET", "/media/media_1/images", {"media_id": "media_1"} | sizes)
    asking.tell("GET", "/media/media_1/url", {"url": "https://m.example.com/f/k?signature=x", "expires_in": 900})
    assert mushu("media", "url", "media_1").stdout == "https://m.example.com/f/k?signature=x\n"
    assert mushu("media", "url", "media_1", "--variant", "small").stdout == "https://m.example.com/t/small/k\n"
    assert mushu("media", "url", "media_1", "--json").json["expires_in"] == 900
    assert mushu("media", "images", "media_1").rows[1] == ["original", sizes["original"]]
    assert mushu("media", "images", "media_1", "--json").json["large"] == sizes["large"]


@pytest.fixture
def stored(asking: Stub, bucket: Stub) -> Stub:
    """The bucket, holding a file that the server knows."""
    item = {"media_id": "media_1", "filename": "photo.png", "size_bytes": len(CONTENT), "key": "k"}
    asking.tell("GET", "/media/media_1", item)
    asking.tell("GET", "/media/media_1/url", {"url": f"{bucket.url}/photo.png?signature=s3cret"})
    bucket.tell("GET", "/photo.png", Told(CONTENT, headers={"Content-Type": "image/png"}))
    return bucket


def test_a_file_is_fetched_whole_without_a_credential(mushu: Mushu, stored: Stub) -> None:
    ran = mushu("media", "download", "media_1")
    assert (ran.code, ran.stdout) == (0, "photo.png\n"), ran.stderr
    assert Path("photo.png").read_bytes() == CONTENT
    assert "authorization" not in stored.asked[-1].headers
    mushu("media", "download", "media_1").fails(
        "photo.png is there already. Name another with --output, or replace it with --force."
    )
    assert mushu("media", "download", "media_1", "--force").code == 0
    ran = mushu("media", "download", "media_1", "--output", "other.png", "--json")
    assert ran.json == {"media_id": "media_1", "path": "other.png", "size_bytes": len(CONTENT)}
    assert sorted(path.name for path in Path().iterdir()) == ["other.png", "photo.png"]
    mushu("media", "download", "media_1", "-o", "nowhere/photo.png").fails(
        "nowhere/photo.png cannot be written (No such file or directory)."
    )


@pytest.mark.parametrize(
    "told", [Told(CONTENT[:-1]), Told(b"", 404), Told(CONTENT, headers={"Content-Length": "9999999"})], ids=range(3)
)
def test_a_file_that_does_not_come_whole_is_not_kept(mushu: Mushu, stored: Stub, told: Told) -> None:
    stored.tell("GET", "/photo.png", told)
    mushu("media", "download", "media_1").fails()
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", ".bashrc", "a\\b", "a\x1b[2J", "C:x", "/x", "a/b", ""])
def test_a_name_that_is_more_than_a_name_is_not_used_on_this_machine(
    mushu: Mushu, asking: Stub, stored: Stub, name: str
) -> None:
    item = {"media_id": "media_1", "filename": name, "size_bytes": len(CONTENT), "key": "k"}
    asking.tell("GET", "/media/media_1", item)
    assert mushu("media", "download", "media_1").code == 0
    assert [path.name for path in Path().iterdir()] == ["media_1"]
