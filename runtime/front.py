"""What visitors of an app find: its host names, https, maintenance. At once, without a release, and seen to be so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from runtime.deployer import Deployer
from runtime.errors import LockstepError, UsageError
from runtime.hosts import check_free, host_name
from runtime.locks import Locked
from runtime.pages import MESSAGE_LIMIT
from runtime.parts import Parts, live_route
from runtime.store import Transaction

MOST_DOMAINS: Final = 50  # of one app


async def add_domains(parts: Parts, deployer: Deployer, app: str, given: Iterable[str], who: str) -> list[str]:
    """Have the app answer to these host names too; in ASCII. Raises HostTaken, UsageError; all or none are added."""
    hosts = list(dict.fromkeys(map(host_name, given)))

    def write(tx: Transaction) -> None:
        there = tx.faces.of(app).domains
        check_room(tx, app, len({*hosts} - {*there}))
        for host in hosts:
            if host == parts.settings.host_of(app):
                raise UsageError(f"{app} answers to {host} already, as every app does to its own name")
            check_free(tx, parts.settings, host, app)
            if host not in there:
                tx.faces.add_domain(app, host, who, parts.clock())

    await _change(parts, deployer, app, write)
    return hosts


async def remove_domains(parts: Parts, deployer: Deployer, app: str, given: Iterable[str]) -> list[str]:
    """Have the app answer to these host names no more. Raises LockstepError for one that was not added to it."""
    hosts = list(dict.fromkeys(map(host_name, given)))

    def write(tx: Transaction) -> None:
        there = tx.faces.of(app).domains
        for host in hosts:
            if host not in there:
                raise LockstepError(f"{host} was not added to {app}: 'domains {app}' lists what was")
            tx.faces.remove_domain(app, host)

    await _change(parts, deployer, app, write)
    return hosts


async def set_https_only(parts: Parts, deployer: Deployer, app: str, wanted: bool) -> None:
    """Send plain http to https, or serve it. Raises LockstepError when the instance speaks no https."""
    if wanted and parts.settings.https_port is None:
        raise LockstepError("this instance speaks no https: set https_port in lockstep.toml and restart the server")
    await _change(parts, deployer, app, lambda tx: tx.faces.set_https_only(app, wanted))


async def set_maintenance(parts: Parts, deployer: Deployer, app: str, message: str | None) -> None:
    """Answer all requests of the app with a page that says so; None: let them through again. Workers go on."""
    if message is not None and (len(message) > MESSAGE_LIMIT or not message.isprintable()):
        raise UsageError(f"the message is not possible: use one line of at most {MESSAGE_LIMIT} characters")
    await _change(parts, deployer, app, lambda tx: tx.faces.set_maintenance(app, message))


def check_room(tx: Transaction, app: str, more: int) -> None:
    """Raises LockstepError when the app may not have so many more domains."""
    if len(tx.faces.of(app).domains) + more > MOST_DOMAINS:
        raise LockstepError(f"{app} would have more than {MOST_DOMAINS} domains: remove some first")


async def _change(parts: Parts, deployer: Deployer, app: str, write: Callable[[Transaction], None]) -> None:
    """Write the row, move the route, look whether it did; what fails after the row is put right by the reconciler."""
    async with deployer.locks.soon(app) as free:
        if not free:
            raise Locked(f"{app} is being deployed: try again when that has ended")
        with parts.store.write() as tx:
            tx.apps.get(app)
            old = live_route(tx, parts.settings, app)
            write(tx)
            wanted = live_route(tx, parts.settings, app)
        if wanted is not None:
            await parts.router.point(wanted)
            await see_hosts(parts, wanted.hosts, () if old is None else old.hosts)


async def see_hosts(parts: Parts, hosts: tuple[str, ...], before: tuple[str, ...]) -> None:
    """The router answers for these host names, and for those of before no more."""
    for host in hosts:
        if not await parts.router.answers_for(host):
            raise LockstepError(f"the router does not answer for {host} yet: 'lockstep doctor' looks at its parts")
    for host in set(before) - set(hosts):
        if await parts.router.answers_for(host):
            raise LockstepError(f"something still answers for {host}: 'lockstep doctor' looks at the parts")
