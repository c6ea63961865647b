"""The clients of the hosted service, as they are on PyPI, against this server: the command and the SDK."""

import base64
import json
import re
import subprocess
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.e2e.conftest import Server, Start, clean_environment
from tests.e2e.published import CLI, SDK, Terminal, ask, installed, login, make_user

#: A picture of four pixels.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGM4IWcDRAwQCgAh9gSJHoU67gAAAABJRU5ErkJggg=="
)
DEVICE = "a1" * 32


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command."""
    return installed(tmp_path_factory.mktemp("published-cli"), CLI) / "mushu"


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python that has the SDK."""
    return installed(tmp_path_factory.mktemp("published-sdk"), SDK) / "python"


@pytest.fixture
def server(start: Start) -> Server:
    return start().wait_until_up()


@pytest.fixture
def ada(client: Path, server: Server, tmp_path: Path) -> Terminal:
    """A user who is logged in with the command."""
    make_user(server, "ada@example.com")
    terminal, token = Terminal(client, server, tmp_path / "ada"), login(server, "ada@example.com")
    terminal("auth", "login-manual", "--access-token", token, "--refresh-token", token)
    return terminal


@pytest.fixture
def org_id(ada: Terminal) -> str:
    """An organization of hers."""
    created = ada("org", "create", "published")
    (found,) = set(re.findall(r"org_[a-z2-7]{12}", created + ada("org", "list")))
    return str(found)


def fetched(address: str) -> tuple[int, str, bytes]:
    """Return the status, the type and the bytes at an address, asked without any credential."""
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", f"{parts.path}?{parts.query}")
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers["Content-Type"], content


@pytest.mark.timeout(400)
def test_every_command_of_the_published_client_that_we_serve(client: Path, server: Server, tmp_path: Path) -> None:
    make_user(server, "ada@example.com")
    bob = make_user(server, "bob@example.com")
    ada, bobs = Terminal(client, server, tmp_path / "ada"), Terminal(client, server, tmp_path / "bob")
    token = login(server, "ada@example.com")

    assert "Logged in" in ada("auth", "login-manual", "--access-token", token, "--refresh-token", token)
    ada("auth", "status")
    assert "ada@example.com" in ada("auth", "user")
    ada("auth", "refresh")
    assert "ada@example.com" in ada("auth", "user"), "the swapped token works"

    created = ada("org", "create", "published")
    (org_id,) = set(re.findall(r"org_[a-z2-7]{12}", created + ada("org", "list")))
    assert "published" in ada("org", "show", org_id)
    assert "owner" in ada("org", "members", "list", org_id)
    ada("org", "members", "add", org_id, bob, "--role", "member")
    ada("org", "members", "update", org_id, bob, "admin")
    assert bob in ada("org", "members", "list", org_id)
    ada("org", "members", "me", org_id)
    ada("org", "members", "remove", org_id, bob, answer="y\n")

    ada("org", "invites", "create", org_id, "--email", "bob@example.com")
    link = ada("org", "invites", "create", org_id, "--link")
    (invitation,) = re.findall(r"miv_[0-9A-Za-z]{28}", link)
    listed = ada("org", "invites", "list", org_id)
    by_email, by_link = re.findall(r"inv_[a-z2-7]{12}", listed)
    bobs_token = login(server, "bob@example.com")
    bobs("auth", "login-manual", "--access-token", bobs_token, "--refresh-token", bobs_token)
    assert org_id in bobs("org", "invites", "accept", invitation)
    pending = re.findall(r"inv_[a-z2-7]{12}", ada("org", "invites", "list", org_id))
    assert len(pending) == 1
    ada("org", "invites", "cancel", org_id, pending[0])
    assert {by_email, by_link} > set(pending)

    assert "Logged out" in ada("auth", "logout")
    assert "Logged out" in bobs("auth", "logout")
    connection = server.connect()
    connection.request("GET", "/users/me", headers={"Authorization": f"Bearer {bobs_token}"})
    assert connection.getresponse().status == 401
    connection.close()


@pytest.mark.timeout(400)
def test_tenants_devices_and_notifications_of_the_published_client(
    server: Server, ada: Terminal, org_id: str, tmp_path: Path
) -> None:
    apple = tmp_path / "AuthKey.p8"
    private = ec.generate_private_key(ec.SECP256R1())
    apple.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    names = ("--bundle-id", "com.example.shop", "--team-id", "A1B2C3D4E5", "--key-id", "ABCDE12345")
    created = ada.once_answered("tenant", "create", "--org", org_id, *names, "--key-file", str(apple))
    (with_apple,) = set(re.findall(r"tenant_[a-z2-7]{12}", created))
    assert "Sandbox" in created
    ada.once_answered("tenant", "list", "--org", org_id)

    token = login(server, "ada@example.com")
    outbox = ask(server, "POST", "/tenants", {"org_id": org_id, "bundle_id": "com.example.shop"}, token=token)[
        "tenant_id"
    ]
    in_outbox = ("--tenant", outbox)
    (key,) = re.findall(r"msk_live_[0-9A-Za-z]{28}", ada("tenant", "api-key", outbox, "--name", "backend"))

    registered = ada("device", "register", "--user", "grace", "--token", DEVICE, "--version", "2.1", *in_outbox)
    assert "grace" in registered
    assert DEVICE[:16] in ada("device", "list", "--user", "grace", "--api-key", key, *in_outbox)
    with_key = ("--title", "Hello", "--body", "Your order is ready", "--api-key", key, *in_outbox)
    sent = ada("push", "send", "--user", "grace", "--badge", "1", "--payload", '{"order": 7}', *with_key)
    (message,) = re.findall(r"Message ID: (\S+)", sent)
    found = ask(server, "GET", f"/tenants/{outbox}/notifications/{message}", token=token)
    assert found["payload"]["aps"]["alert"] == {"title": "Hello", "body": "Your order is ready"}
    assert [sending["outcome"] for sending in found["sendings"]] == ["recorded"]
    counted = ada("push", "bulk", "--users", "grace,heidi", *with_key)
    assert re.findall(r"(Total|Success|Failed): (\d)", counted) == [("Total", "2"), ("Success", "1"), ("Failed", "1")]
    assert "Push sent" in ada("push", "send", "--user", "grace", "--silent", *in_outbox)
    ada("device", "unregister", "--user", "grace", "--token", DEVICE, *in_outbox)
    assert "No devices" in ada("device", "list", "--user", "grace", *in_outbox)

    for tenant_id in (with_apple, outbox):
        assert "deleted" in ada.once_answered("tenant", "delete", tenant_id, "--yes")
    assert "No tenants" in ada("tenant", "list", "--org", org_id)


@pytest.mark.timeout(400)
def test_media_of_the_published_client(server: Server, ada: Terminal, org_id: str) -> None:
    (ada.home / "photo.png").write_bytes(PICTURE)
    uploaded = ada("media", "upload", "photo.png", "--org", org_id)
    (media_id,) = re.findall(r"media_[a-z2-7]{12}", uploaded)
    addresses = dict(re.findall(r"(Original|Thumbnail|Small|Medium|Large): +(http\S+)", uploaded))
    assert len(addresses) == 5
    assert fetched(addresses["Original"]) == (200, "image/png", PICTURE)
    assert fetched(addresses["Thumbnail"])[:2] == (200, "image/jpeg")
    assert "photo.png" in ada("media", "list", "--org", org_id, "--type", "image")
    shown = ada("media", "get", media_id)
    assert "ready" in shown
    assert "photo.png" in shown
    assert (
        fetched(addresses["Small"])[0] == 200
    )  # `media url` of a picture fails in the client, which closed its own way
    ada("media", "delete", media_id, "--force")
    assert "No media found" in ada("media", "list", "--org", org_id)
    assert fetched(addresses["Original"])[0] == 404


@pytest.mark.timeout(400)
def test_the_published_sdk(sdk: Path, server: Server, ada: Terminal, org_id: str, tmp_path: Path) -> None:
    token = login(server, "ada@example.com")
    tenant_id = ask(server, "POST", "/tenants", {"org_id": org_id, "bundle_id": "com.example.shop"}, token=token)[
        "tenant_id"
    ]
    key = ask(server, "POST", f"/orgs/{org_id}/api-keys", {"name": "backend"}, token=token)
    given = {"url": f"http://127.0.0.1:{server.port}", "key": key["key"], "org_id": org_id, "tenant_id": tenant_id}
    done = subprocess.run(
        [str(sdk), str(Path(__file__).with_name("sdk_calls.py"))],
        input=json.dumps(given | {"picture": PICTURE.hex()}),
        env=clean_environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)

    assert (told["good"]["valid"], told["good"]["key_id"], told["good"]["org_id"]) == (True, key["key_id"], org_id)
    assert told["good"]["scope"] == "write"
    assert told["bad"]["valid"] is False
    assert told["bad"]["error"]
    assert (told["device"]["user_id"], told["device"]["platform"]) == ("heidi", "ios")
    assert [device["app_version"] for device in told["devices"]["devices"]] == ["2.1"]
    assert told["push"]["success"] is True
    assert [told["bulk"][name] for name in ("total", "success", "failed")] == [2, 1, 1]
    assert [result["success"] for result in told["bulk"]["results"]] == [True, False]
    assert told["left"]["devices"] == []
    assert told["put"] == 200
    assert told["confirmed"]["status"] == "ready"
    assert [item["filename"] for item in told["listed"]["items"]] == ["photo.png"]
    assert told["of_app"]["items"] == []
    assert told["thumbnail"] == "image/jpeg"
    assert told["after"]["items"] == []
