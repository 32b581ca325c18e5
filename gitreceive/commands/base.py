"""The command tree's own classes: a fresh tree for each session, gates on every command, errors as sentences."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from gitreceive.access import require, sees
from gitreceive.commands.appword import app_first
from gitreceive.commands.desk import Desk
from gitreceive.commands.hints import hint
from gitreceive.record import Deed, one_line, recorded
from runtime.errors import NoSuchApp, UsageError
from runtime.model import Role

Function = TypeVar("Function", bound=Callable[..., Any])

CONTEXT: dict[str, Any] = {"max_content_width": 100, "help_option_names": ["-h", "--help"]}
UNREADABLE = re.compile("[\ud800-\udfff]")  # what can be neither stored nor printed
COMPLAINT_LIMIT = 300  # characters of click's own complaints, which repeat whole words


class GatedCommand(click.Command):
    """A command that asks `access.require` before it runs, and whose end is written down as an event."""

    role: Role = Role.ADMIN  # the least that may run it
    noun: str = ""
    records: bool = True  # leaves an event
    shows: tuple[str, ...] = ()  # parameters whose words may stand in that event
    new_app: str | None = None  # the parameter that names an app which need not be there yet

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help  # click's own prints on the server's standard output
        return option

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, app_first(self, ctx, args))
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click's parser leaves it out, and the usage with it
            raise

    def invoke(self, ctx: click.Context) -> Any:
        desk = ctx.find_object(Desk)
        assert desk is not None
        app = next((app for app, _ in self._apps(ctx.params)), None)
        desk.deed = Deed(desk.operator.name, desk.streams.source, str(self.name), app, self._shown(ctx.params))
        if not self.records:
            return self._admit(ctx, desk)
        return recorded(desk.parts, desk.deed, lambda: self._admit(ctx, desk))

    def _admit(self, ctx: click.Context, desk: Desk) -> Any:
        named, command = self._apps(ctx.params), str(self.name)
        for app, new in named or ((None, False),):
            require(desk.operator, self.role, app, command=command, new=new)
        if ctx.params.get("app") is not None:
            _require_app(desk, ctx.params["app"])
        return super().invoke(ctx)

    def _apps(self, given: dict[str, Any]) -> tuple[tuple[str, bool], ...]:
        """The apps that the words name, and whether one need not be there yet."""
        named = ((given.get("app"), False), (given[self.new_app] if self.new_app is not None else None, True))
        return tuple((app, new) for app, new in named if app is not None)

    def _shown(self, given: dict[str, Any]) -> str:
        found = [given[name] for name in self.shows]
        words = [" ".join(map(str, value)) if isinstance(value, tuple) else value for value in found]
        return " ".join(str(word) for word in words if word is not None and word != "")


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
        if args and not args[0].startswith("-"):
            self.require_command(args[0])
        return super().resolve_command(ctx, args)

    def require_command(self, name: str) -> None:
        """Raises UsageError, naming the nearest, when there is no such command."""
        if name not in self.commands:
            near = hint(name, self.commands, "'help' lists those there are")
            raise UsageError(f"there is no command '{name[:60]}': {near}")


class Registry:
    """Commands as they are declared in the files of nouns; `tree()` makes them into a tree for one session."""

    def __init__(self) -> None:
        self._declared: list[tuple[str, type[GatedCommand], Callable[..., Any], dict[str, Any]]] = []

    def command(
        self,
        name: str,
        *,
        role: Role,
        records: bool | None = None,
        shows: tuple[str, ...] = (),
        new_app: str | None = None,
        kind: type[GatedCommand] = GatedCommand,
    ) -> Callable[[Function], Function]:
        """Declare a command; its function takes the desk first, and click parameters as decorated.

        The gate looks at the parameter `app`, which has to be there, and at the one that `new_app` names.
        It leaves an event unless it is for viewers too, or `records` is False. The event tells the parameters
        in `shows` and what the function notes on the desk: nothing else, since others may be secret.
        """

        def declare(function: Function) -> Function:
            noun = function.__module__.rpartition(".")[2]
            records_too = role is not Role.VIEWER if records is None else records
            gate = {"role": role, "noun": noun, "records": records_too, "shows": shows, "new_app": new_app}
            self._declared.append((name, kind, function, gate))
            return function

        return declare

    def tree(self) -> Tree:
        tree = Tree(name="lockstep", no_args_is_help=False, context_settings=CONTEXT)
        for name, kind, function, gate in self._declared:
            tree.add_command(_make(name, kind, function, gate))
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
    if words[:1] == ("--version",):
        words = ("version", *words[1:])
    if any(map(UNREADABLE.search, words)):
        raise UsageError("the command line is not text in UTF-8: encode what is not, for example with base64")
    try:
        result = tree.main(list(words) or ["help"], prog_name="", standalone_mode=False, obj=desk)
        if inspect.isawaitable(result):
            result = await result
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        message = one_line(" ".join(error.format_message().split()), COMPLAINT_LIMIT).rstrip(".")
        usage = error.ctx.get_usage().removeprefix("Usage: ").strip() if error.ctx is not None else "help"
        raise UsageError(f"{message[:1].lower()}{message[1:]}; usage: {usage}") from None
    except click.ClickException as error:
        raise UsageError(one_line(error.format_message(), COMPLAINT_LIMIT)) from None
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


def _make(name: str, kind: type[GatedCommand], function: Callable[..., Any], gate: dict[str, Any]) -> GatedCommand:
    parameters = list(reversed(getattr(function, "__click_params__", [])))
    command = kind(
        name=name,
        callback=click.pass_obj(function),
        params=parameters,
        help=inspect.getdoc(function),
        context_settings=CONTEXT,
    )
    for attribute, value in gate.items():
        setattr(command, attribute, value)
    return command


def _print_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        desk = ctx.find_object(Desk)
        assert desk is not None
        desk.say(ctx.get_help())
        ctx.exit()


def _require_app(desk: Desk, app: str) -> None:
    with desk.parts.store.read() as tx:
        if tx.apps.find(app) is not None:
            return
        names = [known.name for known in tx.apps.all() if sees(desk.operator, known.name)]
    near = difflib.get_close_matches(app, names, n=1)
    ending = f"did you mean '{near[0]}'?" if near else "'apps' lists those there are"
    raise NoSuchApp(f"there is no app '{app[:60]}': {ending}")
