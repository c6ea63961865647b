"""`mushu completion`: the script with which a shell completes the commands."""

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

_SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes mushu's commands in a shell.

    \b
    bash: eval "$(mushu completion bash)" in ~/.bashrc
    zsh:  eval "$(mushu completion zsh)" in ~/.zshrc
    fish: mushu completion fish > ~/.config/fish/completions/mushu.fish
    """
    click.echo(_SHELLS[shell](ctx.find_root().command, {}, "mushu", "_MUSHU_COMPLETE").source())
