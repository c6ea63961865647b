"""`flask destinations`: places get names, and what is needed to get in there is never shown again."""

from pathlib import Path

import pytest

from mushu.keyformat import Prefix, generate
from mushu.server.config import Settings
from mushu_dotenv import DotenvDestination
from tests.server.commands.conftest import Run
from tests.server.commands.naming import TOKEN, add, check, deliver, listed
from tests.server.web.asking import execute

pytestmark = pytest.mark.usefixtures("acme")


class TestAdding:
    def test_it_works(self, run: Run, tmp_path: Path) -> None:
        ran = add(run, "backend", "env:app/../.env#KEY", "--set", "timeout=5")
        assert ran.code == 0, ran.stderr
        assert ran.json == {
            "name": "backend",
            "environment": "live",
            "uri": f"env:{tmp_path}/.env#KEY",
            "created_at": ran.json["created_at"],
            "settings": ["timeout"],
        }
        table = run("destinations", "list", "--org", "acme").rows
        assert table == [
            ["NAME", "ENV", "URI", "SETTINGS", "KEYS"],
            ["backend", "live", f"env:{tmp_path}/.env#KEY", "timeout", "0"],
        ]

    @pytest.mark.parametrize(
        ("name", "uri", "said"),
        [
            ("Backend", "env:.env", "A name has"),
            ("-", "env:.env", "A name has"),
            ("b", "nosuch:x", "installed plugin"),
            ("b", "env://root:hunter2@host/.env", "credential in this URI"),
            ("b", f"env:{generate(Prefix.LIVE_KEY).reveal()}", "credential in this URI"),
            ("b", "env:.env#not a name", "env"),
        ],
        ids=["capital", "dash", "no plugin", "password", "key", "no variable"],
    )
    def test_what_cannot_be_is_refused_with_a_reason(self, run: Run, name: str, uri: str, said: str) -> None:
        ran = add(run, name, uri)
        assert ran.code == 1
        assert said in ran.stderr
        assert "msk_live_" not in ran.stderr
        assert listed(run) == []

    @pytest.mark.parametrize(
        ("uri", "setting", "said"),
        [
            (
                "vault:secret/a",
                "namspace",
                "vault: has no setting namspace. Did you mean namespace? It reads addr, auth,",
            ),
            ("vault:secret/a", "colour", "vault: has no setting colour. It reads addr, auth,"),
            ("env:.env", "time_out", "env: has no setting time_out. Did you mean timeout? It reads machine, timeout."),
        ],
    )
    def test_a_setting_that_its_plugin_does_not_read_is_refused(
        self, run: Run, uri: str, setting: str, said: str
    ) -> None:
        ran = add(run, "backend", uri, "--set", f"{setting}={TOKEN}")
        assert ran.code == 1
        assert said in ran.stderr
        assert listed(run) == []
        add(run, "backend", uri)
        ran = run("destinations", "set", "backend", "--org", "acme", "--set", f"{setting}={TOKEN}")
        assert (ran.code, listed(run)[0]["settings"]) == (1, [])
        assert said in ran.stderr

    def test_what_was_named_with_one_before_still_opens_and_can_be_taken_back(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(DotenvDestination, "known_settings", None)
            assert add(run, "backend", "env:.env", "--set", "time_out=5").code == 0
        key_id = deliver(run, "env:.env").json["key_id"]
        assert run("keys", "delete", key_id, "--yes").code == 0
        assert "MUSHU_API_KEY" not in (tmp_path / ".env").read_text()


class TestOpening:
    """Whoever opens the place gets its settings. Those of the environment are broken here, so it shows."""

    @pytest.fixture(autouse=True)
    def _broken(self, run: Run, acme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert add(run, "backend", f"env:{tmp_path}/.env", "--set", "timeout=5").code == 0
        monkeypatch.setenv("MUSHU_ENV_TIMEOUT", "not a number")

    def test_they_count_wherever_it_is_named_by_its_uri(self, run: Run, tmp_path: Path) -> None:
        uri = f"env:{tmp_path}/.env#MUSHU_API_KEY"
        assert "The setting `timeout`" in deliver(run, f"env:{tmp_path}/other.env#MUSHU_API_KEY").stderr
        ran = deliver(run, uri)
        assert ran.json["delivered_to"] == [uri]
        assert check(run)[0] == 0
        assert run("keys", "delete", ran.json["key_id"], "--yes").code == 0
        assert "MUSHU_API_KEY" not in (tmp_path / ".env").read_text()

    def test_where_they_cannot_be_opened_nothing_is_minted_and_the_way_out_is_named(
        self, run: Run, tmp_path: Path, settings: Settings
    ) -> None:
        settings.sealing_keys_path.rename(tmp_path / "lost")
        ran = deliver(run, f"env:{tmp_path}/.env#MUSHU_API_KEY")
        assert ran.code == 1
        assert "sealing_keys is missing. Restore it from a backup." in ran.stderr
        assert "Nothing was minted." in ran.stderr
        assert run("keys", "list", "--org", "acme", "--all", "--json").json == []
        code, found = check(run)
        assert (code, found["holds"]) == (3, None)

    def test_a_key_that_cannot_be_taken_away_without_them_stays_due(
        self, run: Run, tmp_path: Path, settings: Settings
    ) -> None:
        key_id = deliver(run, f"env:{tmp_path}/.env#MUSHU_API_KEY").json["key_id"]
        settings.sealing_keys_path.rename(tmp_path / "lost")
        ran = run("keys", "delete", key_id, "--yes")
        assert ran.code == 1
        assert "is missing" in ran.stderr
        (tmp_path / "lost").rename(settings.sealing_keys_path)
        assert "cleaned_up" in run("keys", "reconcile", "--json").stdout
        assert "MUSHU_API_KEY" not in (tmp_path / ".env").read_text()


class TestListing:
    def test_names_its_fields_and_no_value(self, run: Run) -> None:
        add(run, "backend", "vault:secret/a", "--ask", "token", stdin=f"{TOKEN}\n")
        (row,) = listed(run)
        assert list(row) == ["name", "environment", "uri", "created_at", "settings", "keys"]
        assert row["settings"] == ["token"]

    def test_works_without_the_keys_and_says_what_is_wrong(self, run: Run, settings: Settings) -> None:
        add(run, "backend", "env:.env", "--set", "timeout=5")
        settings.sealing_keys_path.unlink()
        ran = run("destinations", "list", "--org", "acme")
        assert ran.code == 3
        assert ran.rows[1][3] == "unreadable"
        assert "Restore it from a backup" in ran.stderr


class TestSetting:
    def test_replaces_all_and_refuses_what_its_plugin_refuses(self, run: Run) -> None:
        add(run, "backend", "env:.env", "--set", "timeout=5")
        deliver(run, "env:.env")
        change = ("destinations", "set", "backend", "--org", "acme")
        ran = run(*change, "--set", "timeout=never")
        assert (ran.code, listed(run)[0]["settings"]) == (1, ["timeout"])
        assert run(*change).json["settings"] == []
        assert run(*change, "--set", "timeout=6").json["settings"] == ["timeout"]
        add(run, "vault", "vault:secret/a", "--set", "timeout=5", "--set", "role=1")
        changed = run("destinations", "set", "vault", "--org", "acme", "--set", "timeout=6").json
        assert changed["settings"] == ["timeout"]

    def test_a_name_or_an_organization_that_is_not_there(self, run: Run) -> None:
        assert run("destinations", "set", "nosuch", "--org", "acme").code == 1
        assert "'nosuch'" in run("destinations", "remove", "nosuch", "--org", "acme", "--yes").stderr
        assert run("destinations", "add", "b", "env:.env", "--org", "nosuch").code == 1


class TestChecking:
    def test_says_what_lies_there_and_what_is_in_the_way(self, run: Run, tmp_path: Path) -> None:
        add(run)
        file, uri = tmp_path / ".env", f"env:{tmp_path}/.env#MUSHU_API_KEY"
        assert check(run) == (0, {"name": "backend", "uri": uri, "holds": "nothing", "faults": []})
        assert not file.exists()
        key_id = deliver(run, "env:.env").json["key_id"]
        code, found = check(run)
        assert code == 0
        assert (found["holds"], found["key_id"], found["key_name"], found["state"]) == ("key", key_id, "k", "active")
        file.write_text(f"MUSHU_API_KEY={TOKEN}\n")
        code, found = check(run)
        assert (code, found["holds"]) == (3, "foreign")
        assert TOKEN not in str(found)
        file.chmod(0o644)
        code, found = check(run)
        assert code == 3
        assert "chmod 600" in str(found["faults"])


class TestRemoving:
    def test_it_works_once_it_is_confirmed(self, run: Run, tmp_path: Path) -> None:
        add(run)
        assert run("destinations", "remove", "backend", "--org", "acme").code == 2, "there is no terminal"
        assert len(listed(run)) == 1
        ran = run("destinations", "remove", "backend", "--org", "acme", "--yes")
        assert ran.json == {"name": "backend", "uri": f"env:{tmp_path}/.env#MUSHU_API_KEY", "removed": True}
        assert listed(run) == []
        assert add(run).code == 0

    def test_is_refused_while_a_key_lives_there(self, run: Run) -> None:
        add(run)
        key_id = deliver(run, "env:.env").json["key_id"]
        assert [row["keys"] for row in listed(run)] == [1]
        ran = run("destinations", "remove", "backend", "--org", "acme", "--yes")
        assert ran.code == 1
        assert f"{key_id} (k)" in ran.stderr
        assert "flask keys delete" in ran.stderr
        run("keys", "delete", key_id, "--yes")
        assert [row["keys"] for row in listed(run)] == [0]


def test_a_path_with_escape_codes_cannot_paint_on_the_terminal(run: Run, in_core: None) -> None:
    add(run)
    execute("UPDATE destinations SET uri = 'env:/\x1b[2J#KEY'")
    assert "\x1b" not in run("destinations", "list", "--org", "acme").stdout
