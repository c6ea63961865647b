"""A server that lies, floods and paints; a project file that was made to harm."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mushu.cli.config import find_project_org
from tests.cli.conftest import ORG, TOKEN, Mushu
from tests.cli.stub import Stub, Told, serving

HTML = {"Content-Type": "text/html"}


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (Told(b"<html>hi", 200, HTML), "HTTP 200 with text/html"),
        (Told(b"<html>no", 404, HTML), "HTTP 404 with text/html"),
        (Told(b"", 404, {"Content-Type": ""}), "HTTP 404 with nothing"),
        (Told(b"{", 200), "HTTP 200 with application/json"),
        (Told(b"[]", 200), "HTTP 200 with application/json"),
        (Told(b"\xff\xfe", 200), "HTTP 200 with application/json"),
        (Told(b'{"a": ' + b"9" * 10_000 + b"}", 200), "HTTP 200 with application/json"),
        (Told(b'{"a":' + b"[" * 100_000, 200), "HTTP 200 with application/json"),
        (Told(json.dumps({"a": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}).encode(), 200), "HTTP 200 with application/json"),
        (Told({}, 204), "HTTP 204"),
        (Told(b"x" * (9 << 20), 200), "it sends without end"),
        (Told({"detail": "no code"}, 400), "HTTP 400"),
        (Told({"code": 7}, 400), "HTTP 400"),
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_answer_of_a_mushu_server_is_called_that_with_a_way_out(
    mushu: Mushu, asking: Stub, told: Told, sentence: str
) -> None:
    asking.tell("GET", "/orgs", told)
    mushu("org", "list").fails(
        f"{asking.url} answers, but not as a Mushu server does: {sentence}",
        "See which server is asked with `mushu config show`",
    )


def test_a_server_in_trouble_is_told_from_a_wrong_address(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", "/orgs", Told(b"<html>", 502, HTML))
    assert f"{asking.url} has trouble (HTTP 502). Try again" in mushu("org", "list").stderr
    asking.problem("GET", "/orgs", 500, "internal", "The server failed. Its log says why.")
    assert mushu("org", "list").stderr == "Error: The server failed. Its log says why.\n"


def test_a_refusal_without_a_sentence_names_its_code(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", "/orgs", Told({"code": "odd", "detail": ["x"]}, 400))
    assert mushu("org", "list").stderr == "Error: The server refused (odd).\n"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_with_the_token(mushu: Mushu, asking: Stub, status: int) -> None:
    with serving() as thief:
        thief.tell("GET", "/orgs", {"orgs": []})
        asking.tell("GET", "/orgs", Told({}, status, {"Location": f"{thief.url}/orgs"}))
        mushu("org", "list").fails("mushu does not follow with a token")
        assert thief.asked == []


PAINT = "\x1b[31m\x1b]0;owned\x07\x9b2J\u202egpj.exe\u2066\r\nError: pay me\t\x00\U000e0041\ud800"


def _paints(text: str) -> bool:
    return any(not letter.isprintable() and letter != "\n" for letter in text)


@pytest.mark.parametrize(
    ("command", "path", "answer"),
    [
        (["org", "list"], "/orgs", {"orgs": [{"org_id": ORG, "name": PAINT, "created_at": PAINT}]}),
        (["org", "list", "--json"], "/orgs", {"orgs": [{"org_id": ORG, "name": PAINT, PAINT: PAINT}]}),
        (["org", "show", ORG], f"/orgs/{ORG}", {"org_id": ORG, "name": PAINT, "more": {PAINT: [PAINT]}}),
        (["org", "members", "list", "--org", ORG], f"/orgs/{ORG}/members", {"members": [{"email": PAINT}]}),
        (["org", "list"], "/orgs", Told({"code": PAINT, "detail": PAINT}, 400)),
        (["org", "list"], "/orgs", Told({"code": PAINT}, 401)),
        (["api-key", "show", "key_1", "--org", ORG], f"/orgs/{ORG}/api-keys/key_1", {"name": PAINT, "scopes": [PAINT]}),
    ],
    ids=range(7),
)  # fmt: skip
def test_nothing_of_a_server_paints_on_the_terminal(
    mushu: Mushu, asking: Stub, command: list[str], path: str, answer: Any
) -> None:
    asking.tell("GET", path, answer)
    ran = mushu(*command)
    assert not _paints(ran.stdout)
    assert not _paints(ran.stderr)
    assert "u001b[31m" in ran.stdout + ran.stderr


def test_json_that_is_printed_is_the_json_that_was_answered(mushu: Mushu, asking: Stub) -> None:
    org: dict[str, Any] = {
        "org_id": ORG,
        "name": f'{PAINT[:-1]} é 漢 \U0001f511 " \\',
        "created_at": None,
        "n": 1.5,
        "deep": {"a": [{"b": []}]},
    }
    asking.tell("GET", f"/orgs/{ORG}", org)
    assert mushu("org", "show", ORG).json == org


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"orgs": None},
        {"orgs": {}},
        {"orgs": [1]},
        {"orgs": [{"org_id": 7, "name": "acme"}]},
        {"orgs": [{"org_id": "../../x", "name": "acme"}]},
        {"orgs": [{"name": "acme"}]},
    ],
    ids=str,
)
def test_an_answer_of_the_wrong_shape_is_told_as_one(mushu: Mushu, asking: Stub, answer: Any) -> None:
    asking.tell("GET", "/orgs", answer)
    mushu("api-key", "list", "--org", "acme").fails("is not what this mushu understands", "of different versions")
    assert len(asking.asked) == 1


def test_fields_of_the_wrong_kind_in_a_table_do_no_harm(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", "/orgs", {"orgs": [{"org_id": 5, "name": {"a": 1}, "created_at": None}, {}]})
    assert mushu("org", "list").ok().stderr == ""


def test_a_token_that_the_server_sends_back_in_a_sentence_is_not_printed(mushu: Mushu, asking: Stub) -> None:
    asking.problem("GET", "/orgs", 403, "forbidden", f"Your token {TOKEN} is bad.")
    assert mushu("org", "list").stderr == "Error: Your token mct_**** is bad.\n"


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "7", '{"org_id": 7}', '{"org_id": ""}', '{"org_id": "../x"}', '{"org_id": "a\\u001b[2J"}',
        '{"org_id": "a b"}', '{"org": "x"}', '{"a":' + "[" * 50_000, "x" * 100_000, json.dumps({"org_id": "o" * 65}),
    ],
    ids=range(13),
)  # fmt: skip
def test_a_project_file_that_is_not_usable_is_ignored_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / ".mushu.json").write_text(content)
    assert find_project_org(tmp_path) is None
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{tmp_path}/.mushu.json is ignored" in said.err
    assert not _paints(said.err)


def test_a_project_file_does_not_choose_where_the_token_goes(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", f"/orgs/{ORG}", {"org_id": ORG})
    with serving() as thief:
        Path(".mushu.json").write_text(json.dumps({"org_id": ORG, "url": thief.url}))
        assert "is ignored: a repository does not choose where your token goes." in mushu("org", "show").ok().stderr
        assert thief.asked == []


def test_a_project_file_that_is_no_file_does_not_hold_mushu_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / ".mushu.json")
    assert find_project_org(tmp_path) is None
    (tmp_path / ".mushu.json").unlink()
    (tmp_path / ".mushu.json").symlink_to("/dev/zero")
    assert find_project_org(tmp_path) is None
    (tmp_path / ".mushu.json").unlink()
    (tmp_path / ".mushu.json").mkdir()
    assert find_project_org(tmp_path) is None
    assert capsys.readouterr().err.count("is ignored") == 3


def test_a_project_file_of_another_user_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".mushu.json").write_text(json.dumps({"org_id": ORG}))
    assert find_project_org(tmp_path) == (ORG, tmp_path / ".mushu.json")
    owner = (tmp_path / ".mushu.json").stat().st_uid
    monkeypatch.setattr("mushu.cli.config.is_foreign", lambda status: status.st_uid == owner)
    assert find_project_org(tmp_path) is None
    assert "belongs to another user" in capsys.readouterr().err
