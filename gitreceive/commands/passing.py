"""Commands that end in a command of the user's own, whose words and options pass as they are."""

from __future__ import annotations

import click

from gitreceive.commands.base import GatedCommand


class PassingCommand(GatedCommand):
    """Its own options stand on either side of the app's name; what follows them belongs to the user's command."""

    allow_interspersed_args = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._app_behind_options(ctx, list(args)))

    def _app_behind_options(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The same words with the app's name moved behind our options, where click ends its search for them."""
        takes_value = {
            name: not option.is_flag
            for option in self.get_params(ctx)
            if isinstance(option, click.Option)
            for name in option.opts
        }
        app: list[str] = []
        at = 0
        while at < len(args) and args[at] != "--":
            name, equals, _ = args[at].partition("=")
            glued = not name.startswith("--") and len(name) > 2
            name = name[:2] if glued else name
            if name in takes_value:
                at += 2 if takes_value[name] and not equals and not glued else 1
            elif not app and not name.startswith("-"):
                app = [args.pop(at)]
            else:
                at += name.startswith("-")  # no option of ours: click says so
                break
        return [*args[:at], *app, *args[at:]]
