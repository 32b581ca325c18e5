"""Commands that end in a command of the user's own, whose words and options pass as they are."""

from __future__ import annotations

from gitreceive.commands.base import GatedCommand


class PassingCommand(GatedCommand):
    """Its own options stand on either side of the app's name; what follows them belongs to the user's command."""

    allow_interspersed_args = False
