"""The door of apps: ssh, sftp and scp with an app's name as the user."""

from __future__ import annotations

from typing import Final

from gitreceive.access import require, sees
from gitreceive.commands.desk import Operations
from gitreceive.model import Knock, Streams
from gitreceive.record import Deed, recorded
from gitreceive.terminal import bridge, raw, tty_of
from runtime.errors import UsageError
from runtime.model import Key, Role
from runtime.runs.files import files_of
from runtime.runs.visits import Visit, visiting
from runtime.runs.words import line_of

COMMAND_USERS: Final = ("paas", "git")  # always lead to the commands, whatever apps are called
WORKER_SIGN: Final = "--"  # APP--WORKER; no app's name has two hyphens in a row
SFTP: Final = "sftp"  # also what a key limited to commands calls it, and scp
ENTER: Final = "enter"  # the command that a shell by user name stands for


class Shells:
    """Implements `gitreceive.model.ShellDoor`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def answer(self, operator: Key, knock: Knock, streams: Streams) -> int | None:
        app, sign, process = knock.user.partition(WORKER_SIGN)
        if knock.user in COMMAND_USERS or not self._is_app(operator, app):
            return None
        action = SFTP if knock.subsystem == SFTP else ENTER
        deed = Deed(operator.name, streams.source, action, app, process)

        async def opened() -> int:
            require(operator, Role.DEVELOPER, app, command=action)
            if action == SFTP:
                return await self._files(app, streams)
            if knock.subsystem is not None:
                raise UsageError(f"'{knock.subsystem[:40]}' is not offered: {app}@ has a shell, sftp and scp")
            if sign and not process:
                raise UsageError(f"name a process behind the hyphens, as in {app}--mailer@HOST")
            command = line_of(knock.line) if knock.line else None
            return await self._shell(Visit(app, operator.name, process or None, command, tty_of(streams)), streams)

        code: int = await recorded(self._operations.parts, deed, opened)
        return code

    async def _files(self, app: str, streams: Streams) -> int:
        async with files_of(self._operations.runs, app) as console:
            return await bridge(console, streams)

    async def _shell(self, visit: Visit, streams: Streams) -> int:
        with raw(streams):
            async with visiting(self._operations.parts, visit) as console:
                return await bridge(console, streams)

    def _is_app(self, operator: Key, name: str) -> bool:
        with self._operations.parts.store.read() as tx:
            return tx.apps.find(name) is not None and sees(operator, name)
