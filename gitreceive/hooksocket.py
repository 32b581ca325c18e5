"""The unix socket on which the proc-receive hook asks what may become of a push.

One JSON line comes in: {"token", "updates": [{"ref", "old", "new"}], "options", "atomic"}. Lines go out:
{"line": …} as the push goes on, and once {"results": [{"ref", "error", "moved", "instead"}]}. A connection
that ends without results refuses every ref, so every way to fail here fails closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from gitreceive.model import Push, PushDoor, RefResult, RefUpdate
from gitreceive.tasks import cancel_once
from runtime.errors import LockstepError, SettingsError, explain
from runtime.model import Key

log = logging.getLogger(__name__)

REQUEST_LIMIT = 16 * 1024 * 1024  # bytes of a request: some hundred thousand refs
REQUEST_DEADLINE = 30.0  # seconds until a hook that has connected must have asked
UNSENT_LIMIT = 8 * 1024 * 1024  # bytes kept for a client that reads too slowly; beyond it lines are left out
PATH_LIMIT = 107  # bytes of a unix socket's path


@dataclass(eq=False)
class Ticket:
    """The right to one push: who, to which app. `token` works once."""

    app: str
    operator: Key
    source: str  # the client's address
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    task: asyncio.Task[None] | None = None  # the push, once the hook has asked


class HookLines:
    """`Lines` into a hook's connection; what its client is too slow to read is left out, not kept."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._left_out = 0

    def write(self, text: str) -> None:
        """Send `text`, line by line."""
        for line in text.removesuffix("\n").split("\n"):
            if self._writer.transport.get_write_buffer_size() > UNSENT_LIMIT:
                self._left_out += 1
            else:
                self._catch_up()
                send(self._writer, {"line": line})

    def results(self, results: tuple[RefResult, ...]) -> None:
        """Send the last line."""
        self._catch_up()
        send(self._writer, {"results": [dataclasses.asdict(result) for result in results]})

    def _catch_up(self) -> None:
        if self._left_out:
            send(self._writer, {"line": f"({self._left_out} lines left out: the connection is too slow for them)"})
            self._left_out = 0


class HookSocket:
    """Listens in `folder`; hands every push that comes with a valid token to `door`."""

    def __init__(self, folder: Path, door: PushDoor) -> None:
        self.path = folder / "hook.sock"
        self._door = door
        self._tickets: dict[str, Ticket] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Make the socket: 0600 in a folder of 0700. Raises SettingsError when its path is too long."""
        if len(bytes(self.path)) > PATH_LIMIT:
            raise SettingsError(f"the path {self.path} is too long for a socket; choose a shorter home folder")
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.parent.chmod(0o700)
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=REQUEST_LIMIT)
        self.path.chmod(0o600)

    async def close(self) -> None:
        """Refuse new pushes and remove the socket; running ones are ended by their sessions."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self.path.unlink(missing_ok=True)

    def issue(self, app: str, operator: Key, source: str = "") -> Ticket:
        """A ticket for one push by `operator` to `app`, from the address `source`."""
        ticket = Ticket(app, operator, source)
        self._tickets[ticket.token] = ticket
        return ticket

    async def withdraw(self, ticket: Ticket) -> None:
        """The session is over: the token dies, and a push that still runs is cancelled and waited for."""
        self._tickets.pop(ticket.token, None)
        if ticket.task is not None and not ticket.task.done():
            cancel_once(ticket.task)
            await asyncio.wait({ticket.task})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            ticket, push = await self._admit(reader)
            ticket.task = asyncio.create_task(self._push(push, HookLines(writer)), name=f"push to {push.app}")
            # The hook sends no more, so whatever ends this read means that it is gone.
            hangup = asyncio.create_task(reader.read(1))
            await asyncio.wait({ticket.task, hangup}, return_when=asyncio.FIRST_COMPLETED)
            hangup.cancel()
            await self.withdraw(ticket)
        except (ValueError, LookupError, TypeError, TimeoutError) as error:
            log.warning("a push was refused at the hook socket: %s", error)
            send(writer, {"line": f"this push is not known to the server: {error}"})
        finally:
            await _close(writer)

    async def _admit(self, reader: asyncio.StreamReader) -> tuple[Ticket, Push]:
        async with asyncio.timeout(REQUEST_DEADLINE):
            request = json.loads(await reader.readline())
        ticket = self._tickets.pop(request["token"], None)
        if ticket is None:
            raise ValueError("its token is not valid, or was used before")
        return ticket, _read_push(request, ticket)

    async def _push(self, push: Push, out: HookLines) -> None:
        try:
            results = _one_each(push, await self._door.push(push, out))
        except LockstepError as error:
            results = refuse(push, explain(error))
        except Exception:
            number = secrets.token_hex(4)
            log.exception("internal error %s in a push to %s", number, push.app)
            results = refuse(push, f"internal error, see the server's log (id {number})")
        out.results(results)


def refuse(push: Push, reason: str) -> tuple[RefResult, ...]:
    """The same answer for every ref."""
    return tuple(RefResult(update.ref, reason) for update in push.updates)


def send(writer: asyncio.StreamWriter, answer: dict[str, object]) -> None:
    """Write one JSON line."""
    writer.write(json.dumps(answer).encode() + b"\n")


def _read_push(request: dict[str, object], ticket: Ticket) -> Push:
    """The push that a request asks for. Raises ValueError, LookupError or TypeError when it is no request."""
    updates, options = request["updates"], request["options"]
    if not isinstance(updates, list) or not isinstance(options, list) or not updates:
        raise ValueError("its request is not complete")
    for text in (*options, *(update["ref"] for update in updates)):
        text.encode()  # raises when git's bytes were not UTF-8
    refs = tuple(RefUpdate(update["ref"], update["old"], update["new"]) for update in updates)
    atomic = bool(request["atomic"])
    return Push(ticket.app, refs, tuple(options), ticket.operator, atomic=atomic, source=ticket.source)


def _one_each(push: Push, results: tuple[RefResult, ...]) -> tuple[RefResult, ...]:
    """`results` if they answer every update exactly once; an atomic push with a refusal is refused whole."""
    if sorted(result.ref for result in results) != sorted(update.ref for update in push.updates):
        raise AssertionError(f"{len(push.updates)} updates got the answers {results!r}")
    if push.atomic and any(result.error is not None for result in results):
        return tuple(RefResult(r.ref, r.error or "atomic push: another ref was refused") for r in results)
    return results


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
