"""The command that prints the script for a shell that completes the others."""

import click


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
