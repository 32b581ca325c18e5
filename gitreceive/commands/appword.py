"""Where the app stands among the words of a command: its first argument, or `--app NAME` anywhere before its own."""

from __future__ import annotations

import click

APP_OPTIONS = ("-a", "--app")


def app_first(command: click.Command, ctx: click.Context, args: list[str]) -> list[str]:
    """The same words with the app where click looks for the command's first argument.

    A command that ends in one of the user's own has its options on either side of the app's name, and what follows
    them is not looked at. Raises click.UsageError for an option without its value.
    """
    first = next((one for one in command.params if isinstance(one, click.Argument)), None)
    if first is None or first.name != "app":
        return args
    args, takes_value, passes = list(args), _with_value(command, ctx), not command.allow_interspersed_args
    app: str | None = None
    at = 0
    while at < len(args) and args[at] != "--":
        name, value = _option(args[at])
        if name is None and passes:
            if app is not None:
                break
            app = args.pop(at)
            continue
        width = 1
        if name in takes_value and value is None:
            if at + 1 == len(args):
                raise click.BadOptionUsage(str(name), f"Option '{name}' requires an argument.", ctx)
            value, width = args[at + 1], 2
        if name in APP_OPTIONS and app is None:
            app = value
            del args[at : at + width]
        else:
            at += width
    if app is None:
        return args
    return [*args[:at], app, *args[at:]] if passes else [app, *args]


def _option(word: str) -> tuple[str | None, str | None]:
    """The option's name and the value in the same word; None: it is an argument, its value is in the next one."""
    if not word.startswith("-") or word == "-":
        return None, None
    if not word.startswith("--"):
        return word[:2], word[2:] or None
    name, equals, value = word.partition("=")
    return name, value if equals else None


def _with_value(command: click.Command, ctx: click.Context) -> set[str]:
    options = [one for one in command.get_params(ctx) if isinstance(one, click.Option)]
    return {*APP_OPTIONS, *(name for one in options if not one.is_flag for name in one.opts)}
