"""`orbit completion`: what a shell has to be told to complete commands, their options, and names of the mesh."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tui.cli.session import Session

_PROGRAM = "orbit"
_VARIABLE = "_ORBIT_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete `orbit` commands.

    \b
    bash:  orbit completion bash > ~/.local/share/bash-completion/completions/orbit
    zsh:   orbit completion zsh > "${fpath[1]}/_orbit"
    fish:  orbit completion fish > ~/.config/fish/completions/orbit.fish
    """
    found = get_completion_class(shell)
    assert found is not None, f"click knows no {shell}"
    root = click.get_current_context().find_root().command
    Session().out.file.write(found(root, {}, _PROGRAM, _VARIABLE).source() + "\n")
