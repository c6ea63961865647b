"""A server of MCP that takes Mushu's keys by FastMCP's own verifier, as FastMCP's documentation shows it.

Only `script/test --long` tries it: the environment that FastMCP is installed into takes 133 MB and 20 seconds.
What the verifier asks is tried in every run, in `server/web/api/test_verification.py`.
"""

import subprocess
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.e2e.conftest import Start, clean_environment, free_port
from tests.e2e.proxies import ask, owner_on, set_password
from tests.long import LONG

pytestmark = pytest.mark.unmeasured
_FASTMCP: Final = "fastmcp==4.2.3"
_SERVER: Final = """
import os
from fastmcp import FastMCP
from fastmcp.server.auth.providers.introspection import IntrospectionTokenVerifier

verifier = IntrospectionTokenVerifier(
    introspection_url=os.environ["MUSHU_URL"] + "/oauth/introspect",
    client_id="orders",
    client_secret=os.environ["MUSHU_API_KEY"],
    required_scopes=["read"],
)
server = FastMCP("orders", auth=verifier)


@server.tool
def orders() -> str:
    return "two orders"


server.run(transport="http", host="127.0.0.1", port=int(os.environ["PORT"]), show_banner=False, stateless_http=True)
"""


@contextmanager
def serving_orders(folder: Path, url: str, key: str) -> Iterator[str]:
    """Run the server of MCP, and provide its address."""
    venv.create(folder / "mcp", with_pip=True)
    program, environment, port = folder / "mcp" / "bin" / "python", clean_environment(folder), free_port()
    subprocess.run([program, "-m", "pip", "install", "--quiet", _FASTMCP], env=environment, check=True)
    settings = {"MUSHU_URL": url, "MUSHU_API_KEY": key, "PORT": str(port), "FASTMCP_CHECK_FOR_UPDATES": "off"}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([program, "-c", _SERVER], env=environment | settings, stdout=log, stderr=log) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def call(address: str, key: str) -> tuple[int, str]:
    """Call the tool, with a key."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "orders", "arguments": {}}}
    headers = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {key}"}
    end = time.monotonic() + 60
    while True:
        try:
            answered = httpx.post(address, json=asked, headers=headers, timeout=30)
        except httpx.ConnectError:  # it starts
            assert time.monotonic() < end
            time.sleep(0.2)
        else:
            return answered.status_code, answered.text


if LONG:

    def test_a_live_key_passes_and_one_that_is_revoked_or_of_others_does_not(start: Start, tmp_path: Path) -> None:
        server = start().wait_until_up()
        set_password(server)
        mine, others = owner_on(server), owner_on(server)
        asker, live, writer = mine.key("asker", "read"), mine.key("live"), mine.key("writer", "write")
        keys = ask(server.port, "GET", f"/orgs/{mine.org}/api-keys", mine.credential)[1]["api_keys"]
        (key_id,) = [key["key_id"] for key in keys if key["name"] == "live"]
        with serving_orders(tmp_path, f"http://127.0.0.1:{server.port}", asker) as address:
            for _ in range(2):
                status, text = call(address, live)
                assert (status, "two orders" in text) == (200, True)
            strangers = [others.key("foreign"), mine.key("test", prefix="/sandbox"), writer, f"{live[:-1]}!"]
            assert [call(address, key)[0] for key in strangers] == [401] * 4
            assert ask(server.port, "DELETE", f"/orgs/{mine.org}/api-keys/{key_id}", mine.credential)[0] == 200
            assert call(address, live)[0] == 401, "on the next call"
            assert call(address, asker)[0] == 200
        assert live not in (tmp_path / "log").read_text()
