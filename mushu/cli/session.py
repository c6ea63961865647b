"""The session of one command: which server, organization, tenant and credential it uses, and its clients."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from mushu.address import DEFAULT_URL, normalized
from mushu.cli import config
from mushu.cli.config import find_project_org
from mushu.cli.credential_store import StoredLogin, find_login, servers
from mushu.cli.errors import Failure
from mushu.cli.output import note
from mushu.cli.request_credential import KEY_VARIABLE, RequestCredential, find_key, of_login

if TYPE_CHECKING:
    from mushu.cli.client.api import Api
    from mushu.cli.client.api_keys import ApiKeys
    from mushu.cli.client.connection import ServerAddress
    from mushu.cli.client.environments import Environments
    from mushu.cli.client.transfer import FileTransfer

URL_VARIABLE: Final = "MUSHU_URL"
ORG_VARIABLE: Final = "MUSHU_ORG_ID"
TENANT_VARIABLE: Final = "MUSHU_TENANT_ID"
_UNNAMED: Final = "default"


class Choice(NamedTuple):
    """A setting that is in force, and where it comes from."""

    value: str
    source: str


@dataclass
class Session:
    """Filled by the options of a command (`options.py`); everything else is found out when it is asked for."""

    url_option: str | None = None
    ca: str | None = None
    insecure: bool = False
    _open: "list[Api]" = field(default_factory=list)

    def url(self) -> Choice:
        """Return the address of the server.

        Raises:
            Failure: the setting that names it is wrong.
        """
        if self.url_option:
            return Choice(self.url_option, "--url")
        named = os.environ.get(URL_VARIABLE, "").strip()
        source = URL_VARIABLE
        if not named:
            kept = config.read(config.CONFIG).get(config.URL)
            named, source = kept if isinstance(kept, str) else "", "mushu config set url"
        if not named:
            return Choice(DEFAULT_URL, _UNNAMED)
        try:
            return Choice(normalized(named), source)
        except ValueError as error:
            raise Failure(f"{error} See {source}.") from None

    def refuse_unnamed(self, what: str) -> None:
        """Refuse to send what opens other servers, too, to an address that nobody has named.

        The default is whatever listens on that port of this machine, which may be anybody's. A key or a password that
        is sent without a person looking would be theirs. The token of a login is not: it goes back to whom it is from.
        A login at the default does not name it, either: it says who answered then, not who will.

        Args:
            what: what would be sent, as the beginning of the sentence: "The key in MUSHU_API_KEY".

        Raises:
            UsageError: neither an option, nor the environment, nor a setting names the server.
            Failure: the setting that names it is wrong.
        """
        if self.url().source == _UNNAMED:
            raise click.UsageError(
                f"Which server? {what} is sent only to a server that you name. Add --url URL, set {URL_VARIABLE}, "
                "or choose one for every command: mushu config set url URL."
            )

    def org(self, option: str | None) -> Choice | None:
        """Return the id or name of the organization that is meant, or None if nothing names one."""
        if option:
            return Choice(option, "--org")
        if named := os.environ.get(ORG_VARIABLE, "").strip():
            return Choice(named, ORG_VARIABLE)
        if project := find_project_org(Path.cwd()):
            return Choice(project.org_id, str(project.path))
        org_id = config.chosen_at(self.url().value, config.ORGS)
        return Choice(org_id, "mushu org use") if org_id else None

    def tenant(self, option: str | None) -> Choice | None:
        """Return the id of the tenant that is meant, or None if nothing names one."""
        if option:
            return Choice(option, "--tenant")
        if named := os.environ.get(TENANT_VARIABLE, "").strip():
            return Choice(named, TENANT_VARIABLE)
        tenant_id = config.chosen_at(self.url().value, config.TENANTS)
        return Choice(tenant_id, "mushu tenant use") if tenant_id else None

    def required_tenant(self, option: str | None) -> str:
        """Return the id of the tenant that is meant.

        Raises:
            UsageError: nothing names one.
        """
        chosen = self.tenant(option)
        if chosen is None:
            raise click.UsageError(
                "Which tenant? Add --tenant TENANT, or choose one for every command: mushu tenant use TENANT. "
                "`mushu tenant list` shows yours."
            )
        return chosen.value

    def required_org(self, option: str | None) -> str:
        """Return the id of the organization that is meant, or the only one; a name is looked up.

        Raises:
            UsageError: nothing names one, and the user has none, or several.
            Failure: there is none of that name, or more than one.
        """
        from mushu.cli.client.environments import only_org_id, org_id_of

        chosen = self.org(option)
        if chosen is None:
            if (only := only_org_id(self.api())) is not None:
                return only
            raise click.UsageError(
                "Which organization? Add --org ORG, or choose one for every command: mushu org use ORG. "
                "`mushu org list` shows yours."
            )
        if chosen.source not in ("--org", ORG_VARIABLE, "mushu org use"):
            note(f"Organization {chosen.value}, from {chosen.source}.")
        return org_id_of(self.api(), chosen.value)

    def login(self) -> StoredLogin | None:
        return find_login(self.url().value)

    def required_login(self) -> StoredLogin:
        """Return the login at this server.

        Raises:
            Failure: there is none.
        """
        found = self.login()
        if found is None:
            others = [url for url in servers() if url != self.url().value]
            elsewhere = f" You are logged in to {', '.join(others)}: name one with --url." if others else ""
            raise Failure(f"You are not logged in to {self.url().value}. Run `{self.login_command()}`.{elsewhere}")
        return found

    def login_command(self) -> str:
        return f"mushu auth login --url {self.url_option}" if self.url_option else "mushu auth login"

    def api(self) -> "Api":
        """Return the server, asked as the user.

        Raises:
            Failure: nobody is logged in, or the address is not safe.
        """
        server = self._server()
        return self._connected(server, of_login(self.required_login().token))

    def api_keys(self, org: str | None) -> "ApiKeys":
        """Return the API keys of the organization that a command is about: asked as the user, or else with a key.

        Raises:
            UsageError, Failure: none is named, or nobody is logged in and there is no key.
        """
        from mushu.cli.client.api_keys import ApiKeys

        if self.login() is not None or find_key() is None:
            return ApiKeys(self.api(), self.required_org(org))
        environments = self.environments()
        return ApiKeys(environments.api, environments.org_id(org), [one.environment for one in environments.all])

    def environments(self) -> "Environments":
        """Return the environments of the server, asked with the API key of the environment, or else as the user.

        Raises:
            UsageError: there is a key, and nobody has named the server that it should go to.
            Failure: there is neither, or the address is not safe.
        """
        from mushu.cli.client.environments import Environments

        server, key = self._server(), find_key()
        if key is not None:
            self.refuse_unnamed(f"The key in {KEY_VARIABLE}")
        credential = key or of_login(self.required_login().token)
        return Environments(self._connected(server, credential), credential)

    def file_transfer(self) -> "FileTransfer":
        """Return what moves files to and from the addresses that this server signs."""
        from mushu.cli.client.transfer import FileTransfer

        return FileTransfer(self._server(), insecure=self.insecure)

    def org_of(self, environments: "Environments", option: str | None) -> str:
        """Return the id of the organization that a service is asked for: of an API key, its own.

        Raises:
            UsageError: nothing names one.
            Failure: there is none of that name.
        """
        return environments.org_id(option) if environments.credential.is_key else self.required_org(option)

    def anonymous(self) -> "Api":
        """Return the server, asked as nobody.

        Raises:
            Failure: the address is not safe.
        """
        return self._connected(self._server(), None)

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    def _server(self) -> "ServerAddress":
        from mushu.cli.client.api import refuse_plain_http
        from mushu.cli.client.connection import ServerAddress

        url = self.url().value
        refuse_plain_http(url, insecure=self.insecure)
        return ServerAddress(url, self.ca, self.login_command())

    def _connected(self, server: "ServerAddress", credential: RequestCredential | None) -> "Api":
        from mushu.cli.client.api import Api

        api = Api(server, credential)
        self._open.append(api)
        return api
