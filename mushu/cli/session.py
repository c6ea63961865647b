"""What one run of a command is about: which server, which organization, which tenant, which credential."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from mushu.address import DEFAULT_URL, normalized
from mushu.cli import storage
from mushu.cli.credentials import KEY_VARIABLE, Credential, find_key, of_login
from mushu.cli.faults import Failure
from mushu.cli.logins import Login, find_login, servers
from mushu.cli.output import note
from mushu.cli.place import Place, no_way_in_the_clear
from mushu.cli.project import find_project_org

if TYPE_CHECKING:
    from mushu.cli.api import Api
    from mushu.cli.sides import Sides
    from mushu.cli.transfer import Depot

URL_VARIABLE: Final = "MUSHU_URL"
ORG_VARIABLE: Final = "MUSHU_ORG_ID"
TENANT_VARIABLE: Final = "MUSHU_TENANT_ID"
#: The names of these fields in config.json; what is chosen on a server is kept under its address.
URL: Final = "url"
ORGS: Final = "orgs"
TENANTS: Final = "tenants"
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
            kept = storage.read(storage.CONFIG).get(URL)
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
                f"Which server? {what} is sent to no address that nobody has named. Add --url URL, set {URL_VARIABLE}, "
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
        org_id = self._kept(ORGS)
        return Choice(org_id, "mushu org use") if org_id else None

    def tenant(self, option: str | None) -> Choice | None:
        """Return the id of the tenant that is meant, or None if nothing names one."""
        if option:
            return Choice(option, "--tenant")
        if named := os.environ.get(TENANT_VARIABLE, "").strip():
            return Choice(named, TENANT_VARIABLE)
        tenant_id = self._kept(TENANTS)
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
        """Return the id of the organization that is meant; a name is looked up.

        Raises:
            UsageError: nothing names one.
            Failure: there is none of that name, or more than one.
        """
        from mushu.cli.lookup import org_id_of

        chosen = self.org(option)
        if chosen is None:
            raise click.UsageError(
                "Which organization? Add --org ORG, or choose one for every command: mushu org use ORG. "
                "`mushu org list` shows yours."
            )
        if chosen.source not in ("--org", ORG_VARIABLE, "mushu org use"):
            note(f"Organization {chosen.value}, from {chosen.source}.")
        return org_id_of(self.api(), chosen.value)

    def login(self) -> Login | None:
        return find_login(self.url().value)

    def required_login(self) -> Login:
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
        place = self._place()
        return self._connected(place, of_login(self.required_login().token))

    def sides(self) -> "Sides":
        """Return the services, asked with the API key of the environment, or else as the user.

        Raises:
            UsageError: there is a key, and nobody has named the server that it should go to.
            Failure: there is neither, or the address is not safe.
        """
        from mushu.cli.sides import Sides

        place, key = self._place(), find_key()
        if key is not None:
            self.refuse_unnamed(f"The key in {KEY_VARIABLE}")
        credential = key or of_login(self.required_login().token)
        return Sides(self._connected(place, credential), credential)

    def depot(self) -> "Depot":
        """Return the way to the files of this server."""
        from mushu.cli.transfer import Depot

        return Depot(self._place(), insecure=self.insecure)

    def org_of(self, sides: "Sides", option: str | None) -> str:
        """Return the id of the organization that a service is asked for: of an API key, its own.

        Raises:
            UsageError: nothing names one.
            Failure: there is none of that name.
        """
        return sides.org_id(option) if sides.credential.is_key else self.required_org(option)

    def anonymous(self) -> "Api":
        """Return the server, asked as nobody.

        Raises:
            Failure: the address is not safe.
        """
        return self._connected(self._place(), None)

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    def _place(self) -> Place:
        url = self.url().value
        no_way_in_the_clear(url, insecure=self.insecure)
        return Place(url, self.ca, self.login_command())

    def _kept(self, name: str) -> str | None:
        """Return what was chosen for this server once and for all."""
        kept = storage.read(storage.CONFIG).get(name)
        value = kept.get(self.url().value) if isinstance(kept, dict) else None
        return value if isinstance(value, str) and value else None

    def _connected(self, place: Place, credential: Credential | None) -> "Api":
        from mushu.cli.api import Api

        api = Api(place, credential)
        self._open.append(api)
        return api
