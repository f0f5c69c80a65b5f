"""`hearth completion`: what a shell needs to complete commands, options and models."""

from __future__ import annotations

import click

_HOW = {
    "bash": 'eval "$(hearth completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(hearth completion zsh)"   # in ~/.zshrc',
    "fish": "hearth completion fish | source   # in ~/.config/fish/config.fish",
}

# Else bash takes `starter:bf16` for three words, and completes the last one as if it were alone.
_WHOLE_NAMES = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}\n"


@click.command(
    epilog="\b\nPut one of these into the file it names:\n"
    + "\n".join(f"  {h}" for h in _HOW.values())
)
@click.argument("shell", type=click.Choice(list(_HOW)))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from codehearth.cli.entry import COMPLETION_VARIABLE
    from codehearth.cli.group import hearth
    from codehearth.cli.output import print_data

    script = get_completion_class(shell)
    assert script is not None
    source = script(hearth, {}, "hearth", COMPLETION_VARIABLE).source()
    print_data(_WHOLE_NAMES + source if shell == "bash" else source)
