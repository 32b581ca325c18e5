"""`lockstep init | serve | stack | doctor | recover | destroy`: the host's commands, wiring only.

Other words go to the server through ssh.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from runtime.errors import LockstepError, SettingsError, UsageError, explain
from runtime.model import Role, app_name
from runtime.settings import FILE_NAME, Settings, check_settings, load_settings, render_settings


class Folder(click.Path):
    """A path; the empty text is none, and would be the folder that one happens to be in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty: name the folder of the instance", param, ctx)
        return super().convert(value, param, ctx)


home_option = click.option(
    "--home",
    type=Folder(path_type=Path),
    required=True,
    envvar="LOCKSTEP_HOME",
    help="The folder of the instance; LOCKSTEP_HOME sets it too.",
)


def main() -> None:
    """Run one host command; the only place that prints an error and chooses the exit code."""
    try:
        code = host.main(prog_name="lockstep", standalone_mode=False)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except LockstepError as error:
        print(f"lockstep: {explain(error)}", file=sys.stderr)  # noqa: T201
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


class Host(click.Group):
    """The host's commands; a word that is none of them begins an operator's command."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, name) or _operators_command(name)


@click.group(cls=Host, no_args_is_help=True)
@click.version_option(package_name="lockstep-paas")
@click.option("--home", type=Folder(path_type=Path), envvar="LOCKSTEP_HOME", help="The folder of the instance.")
@click.pass_context
def host(ctx: click.Context, home: Path | None) -> None:
    """git push, and web, workers and cron of that commit go live together from one image, or nothing changes.

    Every other word begins an operator's command, run on this host's own server: 'lockstep --home DIR help' lists
    them.
    """
    if home is not None:
        ctx.default_map = {name: {"home": home} for name in host.commands}


def _operators_command(name: str) -> click.Command:
    """A command that hands its words to the server as they are."""

    def run(words: tuple[str, ...]) -> None:
        from gitreceive.local import run_here

        home = click.get_current_context().find_root().params["home"]
        if home is None:
            raise UsageError(f"which instance is '{name[:60]}' for? Say 'lockstep --home DIR {name[:60]}'")
        try:
            run_here(load_settings(home), (name, *words))
        except PermissionError as error:
            raise SettingsError(f"{error.filename} is another user's: be the one who runs the server") from None

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    passed_on = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    return click.Command(name, callback=run, params=[words], add_help_option=False, context_settings=passed_on)


@host.command()
@home_option
@click.option("--admin-key", type=click.Path(path_type=Path), required=True, help="A public key file (.pub).")
@click.option("--ssh-port", type=click.IntRange(0, 65535), help="For git and ssh; 2222 by default.")
@click.option("--http-port", type=click.IntRange(1, 65535), help="For the apps' visitors; 8080 by default.")
@click.option("--https-port", type=click.IntRange(1, 65535), help="For visitors by https; none by default.")
@click.option("--domain", help="Apps answer at APP.DOMAIN; localhost by default.")
@click.option("--instance", help="Name of everything this instance makes on the engine; lockstep by default.")
def init(home: Path, admin_key: Path, **chosen: Any) -> None:
    """Make the folder of an instance, its settings, its keys and its store. Existing ones stay."""
    from gitreceive.hostkey import let_host_in
    from gitreceive.keyring import parse_key
    from runtime.parts import now
    from runtime.secrets import make_key
    from runtime.store import Store, prepare_store

    try:
        text = admin_key.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"the admin's key {admin_key} can not be read ({why}): give the path of a .pub file") from None
    key = parse_key("admin", text, Role.ADMIN, (), now())
    if chosen["instance"] is not None:
        _check_instance(chosen["instance"])
    try:
        if not (home / FILE_NAME).exists():
            wanted = check_settings(home.absolute(), chosen)
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            (home / FILE_NAME).write_text(render_settings(wanted))
    except SettingsError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{home} can not be the instance's folder ({error.strerror}): choose another path") from None
    settings = _no_other_settings(home, chosen)
    make_key(settings.secret_key)
    prepare_store(settings.database)
    store = Store(settings.database, _vault(settings))
    with store.write() as tx:
        if tx.keys.find(key.fingerprint) is None:
            name = "admin" if tx.keys.named("admin") is None else f"admin-{key.fingerprint[-6:].lower()}"
            tx.keys.add(key.model_copy(update={"name": name}))
        let_host_in(settings, tx)
    store.close()
    click.echo(f"{home / FILE_NAME} is ready; start it with: lockstep serve --home {home}")


@host.command("serve")
@home_option
def serve_(home: Path) -> None:
    """Run the server in the foreground until SIGTERM; apps stay up without it."""
    from gitreceive.server_process import serve

    asyncio.run(serve(load_settings(home), click.echo))


@host.command()
@home_option
@click.option("--renew", is_flag=True, help="Build them anew, for Debian's security updates.")
def stack(home: Path, renew: bool) -> None:
    """Build the base images now, instead of at the first start."""
    from builder.stack import ensure_platform, ensure_stack, renew_stack
    from runtime.engine.client import Engine

    async def build() -> None:
        settings = load_settings(home)
        async with Engine(settings.engine) as engine:
            if renew:
                await renew_stack(engine, _step, base_image=settings.base_image)
            await ensure_stack(engine, _step, base_image=settings.base_image)
            await ensure_platform(engine, _step, base_image=settings.base_image)

    asyncio.run(build())
    click.echo("the base images are ready")


@host.command()
@home_option
def doctor(home: Path) -> None:
    """Check engine, store, router, redis, scheduler, server, disk, clock and keys; exit 1 if any fails."""
    from gitreceive.wiring import open_parts
    from runtime.doctor import examine

    async def look() -> bool:
        async with open_parts(load_settings(home), even_if_away=True) as parts:
            findings = await examine(parts)
        for finding in findings:
            click.echo(f"{'ok  ' if finding.well else 'FAIL'}  {finding.what:<10} {finding.detail}")
        return all(finding.well for finding in findings)

    if not asyncio.run(look()):
        raise click.exceptions.Exit(1)


@host.command("recover")
@home_option
@click.option("--yes", is_flag=True, help="Really do it.")
def recover_(home: Path, yes: bool) -> None:
    """Bring all apps back on an engine that lost its swarm or its objects; says first what it found and will do."""
    from gitreceive.recovery import recover

    if not asyncio.run(recover(load_settings(home), click.echo, yes=yes)):
        raise click.exceptions.Exit(1)


@host.command()
@home_option
@click.option("--yes", is_flag=True, help="Really do it.")
def destroy(home: Path, yes: bool) -> None:
    """Remove every engine object of the instance, and nothing else. The home folder stays."""
    from gitreceive.server_process import refuse_while_running
    from gitreceive.wiring import open_parts
    from runtime.store import prepare_store
    from runtime.teardown import forget_images, tear_down

    settings = load_settings(home)
    if not yes:
        raise UsageError(f"this stops and removes all apps of instance {settings.instance}: add --yes")

    async def remove() -> None:
        async with open_parts(settings) as parts:
            await tear_down(parts.fleet, click.echo)
            forget_images(parts)

    with refuse_while_running(settings):
        if settings.database.is_file():
            prepare_store(settings.database)
        asyncio.run(remove())


def _no_other_settings(home: Path, chosen: dict[str, Any]) -> Settings:
    """Settings that are there stay; one that is asked for otherwise is not passed over in silence."""
    settings = load_settings(home)
    for name, value in chosen.items():
        if value is not None and str(getattr(settings, name)).lower() != str(value).lower():
            raise UsageError(f"{home / FILE_NAME} is there already: change {name} in it to {value}, then start again")
    return settings


def _check_instance(name: str) -> None:
    try:
        app_name(name)
    except ValueError:
        raise UsageError(f"'{name[:60]}' can not name an instance: use lowercase letters, digits, hyphens") from None
    if len(name) > 20:
        raise UsageError(f"'{name[:60]}' is too long for an instance: use at most 20 characters")


def _step(text: str) -> None:
    click.echo(f"-----> {text}")


def _vault(settings: Any) -> Any:
    from runtime.secrets import Vault

    return Vault(settings.secret_key)
