import pytest

from tests.server.commands.conftest import Run


def test_it_works(run: Run) -> None:
    made = run("users", "create", "--email", "Ada@example.com", "--name", "Ada")
    assert made.code == 0
    assert list(made.json) == ["user_id", "email", "name", "created_at", "status", "operator"]
    assert (made.json["email"], made.json["status"]) == ("ada@example.com", "no password")
    listed = run("users", "list")
    assert listed.rows[0] == ["USER_ID", "EMAIL", "NAME", "STATUS", "OPERATOR", "CREATED"]
    assert listed.rows[1][:4] == [made.json["user_id"], "ada@example.com", "Ada", "no password"]
    assert run("users", "list", "--json").json == [made.json]


def test_a_password_is_read_from_standard_input_and_never_from_an_argument(run: Run) -> None:
    made = run("users", "create", "--email", "a@b", "--password-stdin", stdin="correct horse battery\n")
    assert made.json["status"] == "active"
    assert "correct" not in made.stdout + made.stderr
    assert run("users", "create", "--email", "a@c", "--password", "x").code == 2


def test_a_short_password_creates_nobody(run: Run) -> None:
    refused = run("users", "create", "--email", "a@b", "--password-stdin", stdin="short\n")
    assert (refused.code, refused.stdout) == (1, "")
    assert "12" in refused.stderr
    assert run("users", "list", "--json").json == []


def test_set_password_reads_standard_input_or_says_how(run: Run) -> None:
    run("users", "create", "--email", "a@b")
    assert run("users", "set-password", "a@b", "--password-stdin", stdin="correct horse battery\n").code == 0
    without = run("users", "set-password", "a@b", stdin="")
    assert without.code == 2
    assert "--password-stdin" in without.stderr


def test_disable_and_enable(run: Run) -> None:
    run("users", "create", "--email", "a@b")
    assert run("users", "disable", "a@b").json["status"] == "disabled"
    assert run("users", "enable", "a@b").json["status"] == "no password"


def test_an_unknown_user_is_an_error_that_says_what_to_do(run: Run) -> None:
    for arguments in (["set-password", "x@y", "--password-stdin"], ["disable", "x@y"], ["enable", "x@y"]):
        refused = run("users", *arguments, stdin="correct horse battery\n")
        assert (refused.code, refused.stdout) == (1, "")
        assert "flask users create --email x@y" in refused.stderr


def test_an_address_is_taken_once(run: Run) -> None:
    run("users", "create", "--email", "a@b")
    refused = run("users", "create", "--email", "A@B")
    assert refused.code == 1
    assert "already" in refused.stderr


def test_usage_errors_exit_with_2(run: Run) -> None:
    assert run("users", "create").code == 2
    assert run("users", "nosuch").code == 2


def test_an_invitation_prints_a_link_where_there_is_no_mail_server(run: Run) -> None:
    made = run("users", "invite", "ada@example.com", "--name", "Ada")
    assert made.json["status"] == "no password"
    assert made.json["link"].startswith("http://127.0.0.1:8000/password/mpl_")
    again = run("users", "invite", "ada@example.com")
    assert again.code == 1
    reset = run("users", "reset", "ada@example.com").json
    assert reset["link"] != made.json["link"]
    assert run("users", "reset", "nobody@example.com").code == 1


def test_where_there_is_a_mail_server_the_link_is_not_printed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    monkeypatch.setenv("MUSHU_SMTP_URL", "smtp://127.0.0.1:1")
    monkeypatch.setattr("mushu.server.commands.users.send", lambda *what: sent.append(what[1:]))
    made = run("users", "invite", "ada@example.com")
    assert made.json["mailed_to"] == "ada@example.com"
    assert "mpl_" not in made.stdout + made.stderr
    ((recipient, _, link),) = sent
    assert recipient == "ada@example.com"
    assert "/password/mpl_" in link


def test_a_mail_that_cannot_be_sent_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSHU_SMTP_URL", "smtp://127.0.0.1:1")
    refused = run("users", "invite", "ada@example.com")
    assert refused.code == 1
    assert "flask users reset ada@example.com" in refused.stderr
    assert run("users", "list", "--json").json[0]["email"] == "ada@example.com"
