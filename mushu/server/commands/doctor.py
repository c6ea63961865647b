import click

from mushu.server.commands.common import CorelessCommand, as_json, print_json
from mushu.server.operation.doctor import examine
from mushu.terminal import printable_lines


@click.command("doctor", cls=CorelessCommand)
@as_json
def doctor(as_json: bool) -> None:
    """Say what is wrong with this server, and how to mend it."""
    checks = examine()
    if as_json:
        print_json([{"check": check.name, "ok": check.ok, "detail": check.detail} for check in checks])
    else:
        for check in checks:
            click.echo(printable_lines(f"{'ok  ' if check.ok else 'BAD '} {check.name}: {check.detail}"))
    if not all(check.ok for check in checks):
        raise click.exceptions.Exit(1)
