"""domains, domains:add, domains:remove, domains:https, domains:ca."""

from __future__ import annotations

from collections.abc import Awaitable

import click

from gitreceive.access import sees
from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk
from runtime import front
from runtime.errors import LockstepError
from runtime.hosts import HostTaken
from runtime.model import Role
from runtime.routes import is_local


@registry.command("domains", role=Role.VIEWER)
@app_argument
@json_option
def domains(desk: Desk, app: str) -> None:
    """List the host names that an app answers to, and who signs their certificates.

    ssh paas@HOST -- domains shop
    """
    settings = desk.parts.settings
    with desk.parts.store.read() as tx:
        face, live = tx.faces.of(app), tx.releases.current(app)
    asked = [] if live is None or live.spec.host is None else [(live.spec.host, live.spec.dialect.value)]
    hosts = dict([(settings.host_of(app), "instance"), *asked, *((host, "added") for host in face.domains)])

    def signed_by(host: str) -> str | None:
        if settings.https_port is None:
            return None
        return "own authority" if settings.acme_email is None or is_local(host) else "ACME"

    rows = [
        {
            "host": host,
            "from": origin,
            "url": settings.url_of(host, https=face.https_only),
            "certificate": signed_by(host),
            "http": "to https" if face.https_only and settings.https_port is not None else "served",
        }
        for host, origin in hosts.items()
    ]
    desk.show(rows, nothing="")


@registry.command("domains:add", role=Role.DEVELOPER, shows=("hosts",))
@app_argument
@click.argument("hosts", nargs=-1, required=True, metavar="HOST…")
async def add(desk: Desk, app: str, hosts: tuple[str, ...]) -> None:
    """Have an app answer to more host names, at once; they stay across deploys.

    ssh paas@HOST -- domains:add shop shop.example.com www.example.com
    """
    parts, deployer = desk.parts, desk.operations.deployer
    added = await _named(desk, front.add_domains(parts, deployer, app, hosts, desk.operator.name))
    with parts.store.read() as tx:
        live = tx.releases.current(app)
    when = "" if live is not None and live.spec.web is not None else " once it has a web that is live"
    for host in added:
        desk.say(f"{host} leads to {app}{when}; its DNS has to point here")


@registry.command("domains:remove", role=Role.DEVELOPER, shows=("hosts",))
@app_argument
@click.argument("hosts", nargs=-1, required=True, metavar="HOST…")
async def remove(desk: Desk, app: str, hosts: tuple[str, ...]) -> None:
    """Have an app answer no more to host names that were added to it.

    ssh paas@HOST -- domains:remove shop www.example.com
    """
    parts, deployer = desk.parts, desk.operations.deployer
    for host in await front.remove_domains(parts, deployer, app, hosts):
        desk.say(f"{host} leads to {app} no more")


@registry.command("domains:https", role=Role.DEVELOPER, shows=("wanted",))
@app_argument
@click.argument("wanted", type=click.Choice(["on", "off"]), metavar="on|off")
async def https(desk: Desk, app: str, wanted: str) -> None:
    """Send plain http of an app to https, or serve both.

    ssh paas@HOST -- domains:https shop on
    """
    parts, deployer = desk.parts, desk.operations.deployer
    await front.set_https_only(parts, deployer, app, wanted == "on")
    desk.say(f"{app}: plain http is {'sent to https' if wanted == 'on' else 'served'}")


@registry.command("domains:ca", role=Role.VIEWER)
@app_argument
async def authority(desk: Desk, app: str) -> None:
    """Print the certificate of the authority that signs an app's names without a public one.

    ssh paas@HOST -- domains:ca shop > lockstep-ca.pem
    """
    if desk.parts.settings.https_port is None:
        raise LockstepError("this instance speaks no https: set https_port in lockstep.toml and restart the server")
    desk.say((await desk.parts.router.authority()).rstrip())


async def _named(desk: Desk, work: Awaitable[list[str]]) -> list[str]:
    """The other app's name is for those who may see it."""
    try:
        return await work
    except HostTaken as error:
        if not sees(desk.operator, error.app):
            raise
        raise LockstepError(
            f"{error.host} is in use by {error.app}: 'domains:remove {error.app} {error.host}' frees what was added"
        ) from None
