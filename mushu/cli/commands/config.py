"""`mushu config` and `mushu completion`: what mushu remembers, where each setting comes from, and help for a shell."""

import click

from mushu.address import normalized
from mushu.cli.answers import IDENTIFIER
from mushu.cli.config import CONFIG, CREDENTIALS, ORGS, TENANTS, URL, changing, choose_at, folder
from mushu.cli.credential_store import servers
from mushu.cli.options import as_json, connecting, pass_session
from mushu.cli.output import Column, print_json, print_table, say
from mushu.cli.session import Session

#: What is set for one server, and the field of config.json that holds it.
_PER_SERVER = {"org": ORGS, "tenant": TENANTS}
_COLUMNS = (Column("name", "SETTING"), Column("value", "VALUE"), Column("source", "FROM"))


@click.group()
def config() -> None:
    """What mushu remembers between two commands."""


@config.command("show")
@connecting
@as_json
@pass_session
def show(session: Session, as_json: bool) -> None:
    """Show what is in force, and where it comes from."""
    url, org, tenant, logins = session.url(), session.org(None), session.tenant(None), servers()
    if as_json:
        print_json(
            {
                "url": url.value,
                "org": org.value if org else None,
                "tenant": tenant.value if tenant else None,
                "logins": logins,
                "folder": str(folder()),
            }
        )
        return
    rows: list[dict[str, object]] = [
        {"name": "url", "value": url.value, "source": url.source},
        {"name": "org", "value": org.value if org else None, "source": org.source if org else None},
        {"name": "tenant", "value": tenant.value if tenant else None, "source": tenant.source if tenant else None},
        {"name": "logins", "value": logins or None, "source": str(folder() / CREDENTIALS)},
    ]
    print_table(_COLUMNS, rows)


@config.command("set")
@click.argument("key", type=click.Choice([URL, *_PER_SERVER]))
@click.argument("value")
@connecting
@as_json
@pass_session
def set_(session: Session, key: str, value: str, as_json: bool) -> None:
    """Set the server (url), or the organization or tenant on it (an id); an empty VALUE takes the setting back."""
    kept = _checked_url(value) if key == URL else _checked_id(value)
    if key == URL:
        with changing(CONFIG) as remembered:
            remembered[URL] = kept
    else:
        choose_at(session.url().value, _PER_SERVER[key], kept)
    if as_json:
        print_json({key: kept})
    else:
        say(f"{key} is {kept}." if kept else f"{key} is not set any more.")


def _checked_url(value: str) -> str | None:
    try:
        return normalized(value) if value else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _checked_id(value: str) -> str | None:
    if value and IDENTIFIER.fullmatch(value) is None:
        raise click.BadParameter("An id has only letters, digits, _ and - in it; `mushu org use` takes a name, too.")
    return value or None


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes mushu's commands in a shell.

    \b
    bash: eval "$(mushu completion bash)" in ~/.bashrc
    zsh:  eval "$(mushu completion zsh)" in ~/.zshrc
    fish: mushu completion fish > ~/.config/fish/completions/mushu.fish
    """
    from click import shell_completion  # not loaded for other commands

    scripts = {
        "bash": shell_completion.BashComplete,
        "zsh": shell_completion.ZshComplete,
        "fish": shell_completion.FishComplete,
    }
    click.echo(scripts[shell](ctx.find_root().command, {}, "mushu", "_MUSHU_COMPLETE").source())
