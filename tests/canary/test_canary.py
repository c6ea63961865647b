"""Every command, endpoint and page that mints, delivers, rotates, or fails to: the key is in its destination only."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.canary.watch import KEY, Scene, descendants
from tests.e2e.conftest import free_port
from tests.long import LONG
from tests.vault.bao import Address
from tests.vault.faults import Kind
from tests.vault.server import VaultStub

PASSWORD: Final = "correct horse battery staple"
VAULT: Final = "vault:secret/apps/backend#MUSHU_API_KEY"
#: What goes wrong on the way to the Vault while a key is brought there.
FAULTS: Final[dict[Kind, dict[str, Any]]] = {
    "error-before": {"status": 403, "text": "permission denied"},
    "lost": {},
    "cut-after": {},
    "error-after": {"status": 502},
    "invalid-json": {},
    "redirect": {"location": "https://elsewhere.example/"},
}


class Story:
    """What happens, from the first start to the last deletion."""

    def __init__(self, scene: Scene, vault: VaultStub, http: httpx.Client) -> None:
        self.scene, self.vault, self.http = scene, vault, http
        self.base = str(http.base_url).rstrip("/")
        self.files = iter(range(100))

    def flask(self, *arguments: str, code: int = 0) -> str:
        ended, shown = self.scene.run("flask", *arguments)
        assert ended == code, shown
        self.learn()
        return shown

    def create(self, *arguments: str, code: int = 0) -> str:
        """Mint a key by command; return its id, or nothing where it fails."""
        shown = self.flask("keys", "create", "--org", "default", "--name", "k", *arguments, code=code)
        found = re.search(r'"key_id": "(key_[a-z0-9]+)"', shown)
        return found[1] if found else ""

    def try_(self, *arguments: str) -> str:
        """Run what may fail; return the id of the new key, if there is one."""
        _, shown = self.scene.run("flask", "keys", *arguments)
        self.learn()
        found = re.search(r'"key_id": "(key_[a-z0-9]+)"', shown)
        return found[1] if found else ""

    def env(self) -> str:
        """Return a destination that is new."""
        path = self.scene.folder / "destination" / str(next(self.files)) / ".env"
        path.parent.mkdir()
        self.scene.destinations.append(path)
        return f"env:{path}#MUSHU_API_KEY"

    def learn(self) -> None:
        """Learn what is in the Vault, and what was on its way there."""
        found = self.vault.kv("secret", "apps/backend") or {"versions": {}}
        texts = [json.dumps(found)]
        for method, name in product(("PATCH", "POST"), ("backend", "other")):
            texts += [asked.body.decode() for asked in self.vault.asked(method, f"secret/data/apps/{name}")]
        self.scene.learn(*(key.decode() for text in texts for key in KEY.findall(text.encode())))

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Ask the server, and keep the answer for the watch."""
        response = self.http.request(method, path, json=body)
        assert response.status_code == status, response.text
        self.scene.note("answers", f"{method} {path} {response.status_code} {response.headers!r} {response.text}")
        self.learn()
        return response.json()

    def sign_in(self) -> str:
        """Return the id of the organization, signed in as its owner."""
        command = self.scene.command("nothing", "flask", "users", "set-password", "owner@localhost", "--password-stdin")
        subprocess.run(
            command, input=PASSWORD + "\n", text=True, env=self.scene.environment, cwd=self.scene.folder, check=True,
            capture_output=True,
        )  # fmt: skip
        login = {"email": "owner@localhost", "password": PASSWORD}
        token = self.http.post("/auth/login", json=login).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"
        return str(self.ask("GET", "/orgs")["orgs"][0]["org_id"])


@pytest.fixture
def story(tmp_path: Path, openbao: Address) -> Iterator[Story]:
    port = free_port()
    with VaultStub(openbao) as vault:
        vault.put("secret", "apps/backend", {"NEIGHBOUR": "x"})
        extra = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.root_token, "MUSHU_PORT": str(port)}
        scene = Scene(tmp_path, [tmp_path / "instance" / "first-key.env"], extra=extra)
        with (tmp_path / "notes" / "server").open("w") as output:
            server = subprocess.Popen(
                scene.command("nothing", "up", "--workers", "2"),
                env=scene.environment, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http:
                story = Story(scene, vault, http)
                _wait_until_up(story, server)
                yield story
            for pid in descendants(server.pid):
                scene.look_at(pid)
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait_until_up(story: Story, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, (story.scene.folder / "notes" / "server").read_text()
        try:
            story.http.get("/health")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server was not up in time")


def both(story: Story) -> list[str]:
    return ["--to", VAULT, "--to", story.env()]


def _operator(story: Story) -> None:
    """All that an operator does, and all that goes wrong meanwhile."""
    file = story.env()
    key = story.create("--to", VAULT, "--to", file, "--rotate-every", "1h")
    story.flask("keys", "rotate", key)
    story.flask("keys", "check")
    story.flask("keys", "deliveries", key)
    story.flask("keys", "show", key)
    story.flask("keys", "list", "--org", "default", "--all")
    story.flask("keys", "rotate", "--due")
    story.create("--to", VAULT, code=1)  # it holds a key that works
    replaced = story.create("--to", VAULT, "--force")
    story.flask("keys", "check", code=3)
    for number, (fault, arguments) in enumerate(FAULTS.items()):
        story.vault.fault(fault, "P*", "secret/data/*", times=20, **arguments)
        # Both bring a key in the same steps: in the short form, each meets every other fault.
        if LONG or number % 2:
            replaced = story.try_("rotate", replaced) or replaced
        if LONG or not number % 2:
            replaced = story.try_("create", "--org", "default", "--name", "k", "--force", *both(story)) or replaced
        story.vault.clear_faults()
    exposed = story.scene.folder / "destination" / "exposed.env"
    exposed.write_text("X=1\n")
    exposed.chmod(0o644)
    story.create("--to", f"env:{exposed}", code=1)
    story.create("--to", "nowhere:x", code=1)
    story.flask("keys", "reconcile", "--json")
    story.flask("doctor")


def _over_http(story: Story) -> None:
    """The same through the server."""
    org = story.sign_in()
    file = story.env()
    story.flask("destinations", "add", "backend-env", file, "--org", "default")
    story.flask("destinations", "add", "backend-vault", "vault:secret/apps/other", "--org", "default")
    story.flask("destinations", "check", "backend-env", "--org", "default")
    both = {"name": "k", "deliver_to": ["backend-env", "backend-vault"]}
    created = story.ask("POST", f"/orgs/{org}/api-keys", both)
    key = created["key_id"]
    rotated = story.ask("POST", f"/orgs/{org}/api-keys/{key}/rotate", {"now": True})
    story.ask("POST", f"/orgs/{org}/api-keys", both, status=409)
    story.vault.fault("error-before", "P*", "secret/data/*", times=20, status=403, text="permission denied")
    story.ask("POST", f"/orgs/{org}/api-keys/{rotated['key_id']}/rotate", {}, status=502)
    story.vault.clear_faults()
    for path in ("", f"/{key}/deliveries", f"/{rotated['key_id']}"):
        story.ask("GET", f"/orgs/{org}/api-keys{path}")
    story.ask("POST", f"/orgs/{org}/api-keys", {"name": "k", "deliver_to": [file]}, status=404)
    story.ask("DELETE", f"/orgs/{org}/api-keys/{rotated['key_id']}")
    story.flask("destinations", "remove", "backend-env", "--org", "default", "--yes")
    for page in ("/", "/docs", "/openapi.json", "/account"):
        story.scene.note("answers", story.http.get(page).text)


def _on_a_client(story: Story) -> None:
    """The same with the `mushu` command, which writes on its own machine."""
    story.scene.extra["MUSHU_URL"] = story.base
    command = story.scene.command("nothing", "mushu", "auth", "login", "--email", "owner@localhost", "--password-stdin")
    subprocess.run(
        command, input=PASSWORD + "\n", text=True, env=story.scene.environment, cwd=story.scene.folder, check=True,
        capture_output=True,
    )  # fmt: skip
    file = story.env()
    code, shown = story.scene.run("mushu", "api-key", "create", "--org", "default", "--name", "k", "--to", file)
    assert code == 0, shown
    key = json.loads(shown[shown.index("{") : shown.rindex("}") + 1])["key_id"]
    code, shown = story.scene.run("mushu", "api-key", "rotate", key, "--org", "default", "--to", file)
    assert code == 0, shown
    assert story.scene.run("mushu", "api-key", "create", "--org", "default", "--name", "k", "--to", file)[0] != 0
    assert story.scene.run("mushu", "api-key", "deliveries", key, "--org", "default")[0] == 0


def _what_is_shown_once(story: Story) -> None:
    """A key that was asked for is shown in the one answer to that, and nowhere else."""
    code, shown = story.scene.run("flask", "keys", "create", "--org", "default", "--name", "k", "--show-once")
    assert code == 0
    (key,) = KEY.findall(shown.encode())
    terminal = story.scene.folder / "notes" / "terminal"
    terminal.write_text(terminal.read_text().replace(key.decode(), "(shown once)", 1))
    story.scene.learn(key.decode())
    assert httpx.get(f"{story.base}/orgs", headers={"X-API-Key": key.decode()}, trust_env=False).status_code == 200


def test_the_key_is_in_its_destination_and_nowhere_else(story: Story) -> None:
    _operator(story)
    _over_http(story)
    _on_a_client(story)
    _what_is_shown_once(story)
    assert len(story.scene.plaintexts) > (12 if LONG else 9)
    assert story.scene.leaks() == {}


def test_both_places_hold_the_same_working_key_and_their_neighbours_are_unharmed(story: Story) -> None:
    file = story.env()
    path = story.scene.destinations[-1]
    path.write_text("# ours\nDATABASE=postgres://db\n")
    path.chmod(0o600)
    before = story.vault.kv("secret", "apps/backend")
    story.create("--to", VAULT, "--to", file)
    found = story.vault.kv("secret", "apps/backend")
    assert before is not None
    assert found is not None
    held = found["versions"]["2"]["data"]
    key = held["MUSHU_API_KEY"]
    assert path.read_text() == f"# ours\nDATABASE=postgres://db\nMUSHU_API_KEY={key}\n"
    assert httpx.get(f"{story.base}/orgs", headers={"X-API-Key": key}, trust_env=False).status_code == 200
    assert (held["NEIGHBOUR"], found["versions"]["1"]) == ("x", before["versions"]["1"])
    assert story.scene.leaks() == {}
