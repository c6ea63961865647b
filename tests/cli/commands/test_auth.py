import json
import stat
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import TOKEN, Mushu, Served, log_in, login_answer
from tests.cli.stub import Stub, Told, problem, serving
from tests.conftest import TurnableClock


def test_every_auth_command_speaks_to_people_and_json(served: Served, mushu: Mushu, ada: str) -> None:
    expected = {
        "url": served.url, "logged_in": True, "user_id": ada, "email": "ada@example.com",
        "expires_at": "2026-01-15T22:30:00Z",
    }  # fmt: skip
    stdin = f"{served.world.password}\n"
    login = ("auth", "login", "--email", "ada@example.com", "--password-stdin", "--json")
    assert mushu(*login, stdin=stdin).json == expected
    ran = mushu(*login[:-1], stdin=stdin)
    assert ran.stdout == f"Logged in to {served.url} as ada@example.com, until 2026-01-15T22:30:00Z.\n"
    assert mushu("auth", "status").stdout.startswith(f"Logged in to {served.url} as ada@example.com (usr_")
    assert mushu("auth", "status", "--json").json == expected
    assert mushu("auth", "token", "--json").json["access_token"].startswith("mct_")
    assert mushu("auth", "logout", "--json").json == {"url": served.url, "logged_in": False}
    ran = mushu("auth", "status", "--json")
    assert (ran.code, ran.json) == (1, {"url": served.url, "logged_in": False})


def test_a_wrong_password_is_refused_in_the_server_s_words_and_nothing_is_kept(
    served: Served, mushu: Mushu, config_folder: Path
) -> None:
    ran = mushu("auth", "login", "--email", "ada@example.com", "--password-stdin", stdin="wrong\n").fails()
    assert ran.stderr.startswith("Error: ")
    assert "wrong" not in ran.stderr.replace("is wrong", "")
    assert not (config_folder / "credentials.json").exists()


def test_a_login_that_is_twelve_hours_old_says_so_and_what_to_do(
    served: Served, mushu: Mushu, ada: str, clock: TurnableClock
) -> None:
    clock.turn(hours=12, seconds=1)
    ran = mushu("org", "list").fails()
    assert ran.stderr == (
        f"Error: Your login at {served.url} has expired, as it does after 12 hours. Run `mushu auth login`.\n"
    )


def test_a_login_that_was_revoked_elsewhere_says_so(served: Served, mushu: Mushu, ada: str) -> None:
    token = mushu("auth", "token").stdout.strip()
    mushu("auth", "logout")
    log_in(served.url, token)
    ran = mushu("auth", "status", "--url", served.url).fails("does not accept your login any more (")
    assert ran.stderr.endswith(f"Run `mushu auth login --url {served.url}`.\n")


def test_logout_ends_the_login_on_the_server_and_here(served: Served, mushu: Mushu, ada: str) -> None:
    token = mushu("auth", "token").stdout.strip()
    assert mushu("auth", "logout").stdout == f"Logged out of {served.url}.\n"
    assert (
        served.app.test_client().get("/auth/validate", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    )
    assert mushu("auth", "logout").code == 1


@pytest.mark.parametrize(
    ("told", "code", "said"),
    [
        (problem(401, "expired_credential", "It expired."), 0, ""),
        (Told(b"", 503), 1, "forgotten here, but the server was not told"),
        (problem(403, "forbidden", "No."), 1, "forgotten here, but the server was not told"),
    ],
    ids=["expired", "broken", "refused"],
)
def test_logout_forgets_the_login_whatever_the_server_says_and_tells_if_the_server_was_not_told(
    mushu: Mushu, asking: Stub, told: Told, code: int, said: str
) -> None:
    asking.tell("POST", "/auth/logout", told)
    ran = mushu("auth", "logout")
    assert (ran.code, said in ran.stderr) == (code, True)
    assert mushu("auth", "token").code == 1


def test_the_token_is_printed_when_asked_for_and_by_no_other_command(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", "/auth/validate", {"valid": True})
    assert mushu("auth", "token").stdout == f"{TOKEN}\n"
    for command in (["auth", "status"], ["auth", "status", "--json"], ["config", "show"], ["config", "show", "--json"]):
        ran = mushu(*command).ok()
        assert TOKEN not in ran.stdout + ran.stderr


def test_a_token_goes_to_the_server_that_issued_it_and_to_no_other(mushu: Mushu, asking: Stub) -> None:
    with serving() as other:
        other.tell("GET", "/orgs", {"orgs": []})
        mushu("org", "list", "--url", other.url).fails(f"You are logged in to {asking.url}: name one with --url.")
        assert other.asked == []


def test_the_token_is_kept_0600_in_a_folder_0700(mushu: Mushu, stub: Stub, config_folder: Path) -> None:
    stub.tell("POST", "/auth/login", login_answer())
    mushu("auth", "login", "--url", stub.url, "--email", "a@b.c", "--password-stdin", stdin="x\n").ok()
    assert stat.S_IMODE((config_folder / "credentials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(config_folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in config_folder.iterdir()) == [".lock", "config.json", "credentials.json"]


def test_the_first_server_that_is_named_is_the_one_that_commands_ask_from_then_on(mushu: Mushu, stub: Stub) -> None:
    stub.tell("POST", "/auth/login", login_answer())
    stub.tell("GET", "/auth/validate", {"valid": True})
    ran = mushu("auth", "login", "--url", stub.url, "--email", "a@b.c", "--password-stdin", stdin="x\n")
    assert f"From now on commands ask {stub.url}" in ran.stderr
    assert mushu("auth", "status").code == 0
    again = mushu("auth", "login", "--url", stub.url, "--email", "a@b.c", "--password-stdin", stdin="x\n")
    assert again.stderr == ""


def test_logins_at_two_servers_at_once_are_both_kept(config_folder: Path) -> None:
    threads = [threading.Thread(target=log_in, args=(f"http://127.0.0.1:{port}",)) for port in range(8001, 8021)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((config_folder / "credentials.json").read_text())) == 20


def test_a_password_is_asked_for_on_a_terminal_only(mushu: Mushu, stub: Stub) -> None:
    mushu("auth", "login", "--url", stub.url, "--email", "a@b.c").fails("Add --password-stdin.", code=2)
    mushu("auth", "login", "--url", stub.url, "--password-stdin").fails("--password-stdin needs --email.", code=2)


def test_the_password_is_sent_as_it_was_given_and_a_throttled_login_says_how_long_to_wait(
    mushu: Mushu, stub: Stub
) -> None:
    login = ("auth", "login", "--url", stub.url, "--email", "a@b.c", "--password-stdin")
    stub.problem("POST", "/auth/login", 429, "throttled", "Too many tries.", Retry_After="17")
    assert mushu(*login, stdin='  p"ä \r\n').stderr == "Error: Too many tries. It asks to wait 17 seconds.\n"
    assert stub.asked[-1].json == {"email": "a@b.c", "password": '  p"ä '}


def test_an_unreachable_server_says_whose_login_is_stored(mushu: Mushu, asking: Stub) -> None:
    asking.tell("GET", "/auth/validate", Told(b"", 502))
    mushu("auth", "status").fails("Stored for it is the login of ada@example.com.")
