from tests.server.commands.conftest import Run


def test_it_works(run: Run) -> None:
    made = run("users", "create", "--email", "Ada@example.com", "--name", "Ada")
    assert made.code == 0
    assert list(made.json) == ["user_id", "email", "name", "created_at", "status"]
    assert (made.json["email"], made.json["status"]) == ("ada@example.com", "no password")
    listed = run("users", "list")
    assert listed.rows[0] == ["USER_ID", "EMAIL", "NAME", "STATUS", "CREATED"]
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
