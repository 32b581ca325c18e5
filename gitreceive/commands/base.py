"""The command tree's own classes: a fresh tree for each session, gates on every command, errors as sentences."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import click

from gitreceive.access import require, sees
from gitreceive.commands.desk import Desk
from runtime.errors import NoSuchApp, UsageError
from runtime.model import Role

Function = TypeVar("Function", bound=Callable[..., Any])

HELP_WIDTH = 100


class GatedCommand(click.Command):
    """A command that asks `access.require` before it runs; `role` is the least that may run it."""

    role: Role = Role.ADMIN
    noun: str = ""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help  # click's own prints on the server's standard output
        return option

    def invoke(self, ctx: click.Context) -> Any:
        desk = ctx.find_object(Desk)
        assert desk is not None
        app = ctx.params.get("app")
        require(desk.operator, self.role, app)
        if app is not None:
            _require_app(desk, app)
        return super().invoke(ctx)


class Tree(click.Group):
    """All commands of one session."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help
        return option

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "'help' lists those there are"
            raise UsageError(f"there is no command '{args[0][:60]}': {hint}")
        return super().resolve_command(ctx, args)


class Registry:
    """Commands as they are declared in the files of nouns; `tree()` makes them into a tree for one session."""

    def __init__(self) -> None:
        self._declared: list[tuple[str, Role, str, type[GatedCommand], Callable[..., Any]]] = []

    def command(
        self, name: str, *, role: Role, kind: type[GatedCommand] = GatedCommand
    ) -> Callable[[Function], Function]:
        """Declare a command; its function takes the desk first, and click parameters as decorated."""

        def declare(function: Function) -> Function:
            noun = function.__module__.rpartition(".")[2]
            self._declared.append((name, role, noun, kind, function))
            return function

        return declare

    def tree(self) -> Tree:
        tree = Tree(name="lockstep", no_args_is_help=False, context_settings={"max_content_width": HELP_WIDTH})
        for name, role, noun, kind, function in self._declared:
            tree.add_command(_make(name, role, noun, kind, function))
        return tree


registry = Registry()

app_argument = click.argument("app")
json_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print.", expose_value=False,
    callback=lambda ctx, _, value: setattr(ctx.find_object(Desk), "as_json", value == "json"),
)  # fmt: skip
force_option = click.option("--force", is_flag=True, help="Do not ask.")


async def run_tree(tree: Tree, words: tuple[str, ...], desk: Desk) -> int:
    """Run one command line. Raises LockstepError; click's own complaints become UsageError."""
    try:
        result = tree.main(list(words) or ["help"], prog_name="", standalone_mode=False, obj=desk)
        if inspect.isawaitable(result):
            result = await result
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        message = error.format_message().rstrip(".")
        usage = error.ctx.get_usage().removeprefix("Usage: ").strip() if error.ctx is not None else "help"
        raise UsageError(f"{message[:1].lower()}{message[1:]}; usage: {usage}") from None
    except click.ClickException as error:
        raise UsageError(error.format_message()) from None
    return result if isinstance(result, int) else 0


async def confirm(desk: Desk, name: str, force: bool) -> None:
    """Have the name typed on a terminal, or `--force` given. Raises UsageError."""
    if force:
        return
    if desk.streams.terminal is None:
        raise UsageError(f"this removes {name} for good: add --force, or run it on a terminal (ssh -t)")
    desk.streams.write(f"This removes {name} for good. Type its name to go on: ".encode())
    typed = bytearray()
    while not typed.endswith((b"\r", b"\n")):
        chunk = await desk.streams.read(1)
        if not chunk:
            break
        typed += chunk
        desk.streams.write(chunk.replace(b"\r", b"\r\n"))
    if typed.decode(errors="replace").strip() != name:
        raise UsageError(f"the name typed is not {name}: nothing was removed")


def _make(name: str, role: Role, noun: str, kind: type[GatedCommand], function: Callable[..., Any]) -> GatedCommand:
    parameters = list(reversed(getattr(function, "__click_params__", [])))
    command = kind(name=name, callback=click.pass_obj(function), params=parameters, help=inspect.getdoc(function))
    command.role, command.noun = role, noun
    return command


def _print_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        desk = ctx.find_object(Desk)
        assert desk is not None
        desk.say(ctx.get_help())
        ctx.exit()


def _require_app(desk: Desk, app: str) -> None:
    with desk.parts.store.read() as tx:
        names = [known.name for known in tx.apps.all() if sees(desk.operator, known.name)]
    if app not in names:
        near = difflib.get_close_matches(app, names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "'apps' lists those there are"
        raise NoSuchApp(f"there is no app '{app[:60]}': {hint}")
