"""Settings of apps, domains and clones as a session asks for them, on a real store and without an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.layer import DeployJob, Layer, ScheduledJob, WorkerJob
from runtime.model import Role, WorkerFailure
from tests.unit.gitreceive.desk import Office
from tests.unit.runtime.samples import key, spec, web, worker

LIMITED = key("lena", role=Role.DEVELOPER, apps=("shop",))


async def test_create_takes_all_settings(office: Office) -> None:
    done = await office.run(
        *("apps:create", "shop", "--worker-job-name", "clock", "--worker-job-command", "tick"),
        *("--worker-job-name", "mail", "--worker-job-command", "send"),
        *("--scheduled-job-name", "tidy", "--scheduled-job-command", "rm -r tmp", "--scheduled-job-schedule", "@daily"),
        *("--scheduled-job-retries", "0", "--scheduled-job-timeout", "90s", "--deploy-job-enabled=false"),
        *("--size", "mini", "--replicas", "3", "--branch", "trunk", "--worker-failure", "warn", "--env", "A=b=c"),
    )
    assert (done.code, done.err) == (0, "")
    with office.store.read() as tx:
        assert tx.apps.layer("shop") == Layer(
            size="mini",
            workers=(WorkerJob(name="clock", command="tick"), WorkerJob(name="mail", command="send")),
            crons=(ScheduledJob(name="tidy", command="rm -r tmp", schedule="0 0 * * *", retries=0, timeout=90.0),),
            deploy_job=DeployJob(enabled=False),
            worker_failure=WorkerFailure.WARN,
        )
        assert (tx.apps.get("shop").branch, tx.apps.scale("shop")) == ("trunk", {"web": 3})
        assert tx.apps.config("shop") == {"A": "b=c"}
    found = json.loads((await office.run("apps:info", "shop", "-o", "json")).out)["values"]
    assert {"what": "worker mail", "key": "command", "value": "send", "origin": "app"} in found
    assert {"what": "deploy job", "key": "enabled", "value": "False", "origin": "app"} in found
    assert {"what": "env", "key": "A", "value": "***", "origin": "app"} in found
    assert len(found) == 11
    updated = await office.run("apps:update", "shop", "--delete-worker-job", "mail", "--unset-replicas")
    assert (updated.code, updated.out) == (0, "shop is updated; its first push takes the rest live\n")
    assert len(json.loads((await office.run("apps:info", "shop", "-o", "json")).out)["values"]) == 9


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--worker-job-command", "x"), "--worker-job-command is given 1 times for 0 names"),
        (("--worker-job-name", "web"), "--worker-job-name: 'web' is the name of the app's web process"),
        (("--worker-job-name", "a", "--worker-job-name", "a"), "'a' is named twice"),
        (("--worker-job-name", "a", "--worker-job-command", " "), "--worker-job-command: is not a command"),
        (("--scheduled-job-name", "a", "--scheduled-job-schedule", "often"), "--scheduled-job-schedule: "),
        (("--scheduled-job-name", "a", "--scheduled-job-timeout", "1d"), "must be a time from '1m' to '30m'"),
        (("--scheduled-job-name", "a", "--scheduled-job-retries", "6"), "6 is not in the range"),
        (("--deploy-job-timeout", "1s"), "must be a time from '1m' to '30m'"),
        (("--env", "A"), "A is not KEY=VALUE"),
        (("--env", "LOCKSTEP_APP=x"), "names that begin with LOCKSTEP_"),
        (("--branch", "--upload-pack=x"), "is not a branch"),
        (("--branch", "refs/tags/v1"), "is a ref and not a branch"),
        (("--worker-job-name", "a"), "the job a is given nothing but its name"),
        (("--replicas", "101"), "101 is not in the range"),
        (("--size", "giant"), "'giant' is not one of"),
    ],
)
async def test_settings_that_are_no_settings_make_no_app(office: Office, words: tuple[str, ...], sentence: str) -> None:
    done = await office.run("apps:create", "shop", *words)
    assert (done.code, sentence in done.err) == (2, True), done.err
    with office.store.read() as tx:
        assert tx.apps.find("shop") is None


async def test_update_checks_against_the_live_manifest_first(office: Office) -> None:
    office.add_app("shop", 1, live=1, spec=spec(web(), worker("mailer")))
    for words, sentence in (
        (
            ("--scheduled-job-name", "mailer", "--scheduled-job-command", "x", "--scheduled-job-schedule", "@daily"),
            "'mailer' is",
        ),
        (("--worker-job-name", "gone", "--worker-job-size", "mini"), "which its manifest does not have"),
        (("--delete-worker-job", "mailer"), "'apps:info shop' shows which there are"),
        (("--delete-scheduled-job", "x"), "there is no scheduled job 'x' in the settings of shop"),
        (("--delete-env", "NOPE"), "NOPE is not set on shop: 'config shop' lists what is"),
    ):
        done = await office.run("apps:update", "shop", *words)
        assert (done.code, sentence in done.err) == (1, True), done.err
    both = await office.run("apps:update", "shop", "--replicas", "1", "--unset-replicas")
    assert (both.code, both.err) == (2, "'replicas' is given and taken back in one: say one of the two")
    with office.store.read() as tx:
        assert (tx.deploys.unfinished(), tx.apps.layer("shop")) == ([], Layer())


async def test_the_record_names_the_command_once(office: Office) -> None:
    await office.run("apps:create", "shop", "--env", "PORT=1", "--branch", "refs/heads/trunk")
    await office.run("apps:update", "shop", "--env", "PORT=2", "--unset-replicas")
    with office.store.read() as tx:
        found = [(row.action, row.detail) for row in tx.events.of("shop")]
        assert tx.apps.get("shop").branch == "trunk"
    assert found == [("apps:update", "env PORT, replicas of the manifest"), ("apps:create", "branch trunk, env PORT")]
    history = json.loads((await office.run("config:history", "shop", "-o", "json")).out)
    assert [row["what"] for row in history] == [
        "apps:update env PORT, replicas of the manifest",
        "apps:create branch trunk, env PORT",
    ]


async def test_info_says_where_values_come_from(office: Office) -> None:
    office.add_app("shop", 1, live=1, config={"TOKEN": "sesame"})
    found = json.loads((await office.run("apps:info", "shop", "-o", "json")).out)
    assert {"what": "env", "key": "TOKEN", "value": "***", "origin": "app"} in found["values"]
    text = (await office.run("apps:info", "shop")).out
    assert "ORIGIN" in text
    assert "sesame" not in text


async def test_ps_of_a_stopped_app_names_what_is_stopped(office: Office) -> None:
    office.add_app("shop", 1, live=1)
    with office.store.write() as tx:
        tx.faces.set_stopped("shop", {"web"})
    found = json.loads((await office.run("apps:info", "shop", "-o", "json")).out)
    assert found["stopped"] == ["web"]


async def test_domains_of_an_app_that_is_not_live_are_kept(office: Office) -> None:
    office.add_app("shop")
    office.add_app("blog")
    done = await office.run("domains:add", "shop", "www.Shop.ch", "www.shop.ch")
    assert (done.code, done.out) == (
        0,
        "www.shop.ch leads to shop once it has a web that is live; its DNS has to point here\n",
    )
    listed = json.loads((await office.run("domains", "shop", "-o", "json")).out)
    assert [(row["host"], row["from"], row["certificate"]) for row in listed] == [
        ("shop.localhost", "instance", None),
        ("www.shop.ch", "added", None),
    ]
    taken = await office.run("domains:add", "blog", "new.ch", "www.shop.ch")
    assert (taken.code, taken.err) == (
        1,
        "www.shop.ch is in use by shop: 'domains:remove shop www.shop.ch' frees what was added",
    )
    assert len(json.loads((await office.run("domains", "blog", "-o", "json")).out)) == 1
    own = await office.run("domains:add", "shop", "shop.localhost")
    assert (own.code, "answers to shop.localhost already" in own.err) == (2, True)
    gone = await office.run("domains:remove", "shop", "www.shop.ch")
    assert gone.out == "www.shop.ch leads to shop no more\n"


async def test_whose_a_host_is_stays_hidden_from_a_key_of_one_app(office: Office) -> None:
    office.add_app("shop")
    office.add_app("blog")
    await office.run("domains:add", "blog", "www.blog.ch")
    for host in ("www.blog.ch", "blog.localhost"):
        done = await office.run("domains:add", "shop", host, who=LIMITED)
        sentence = f"{host} is in use by another app: remove it there first, or choose another name"
        assert (done.code, done.err) == (1, sentence)


async def test_an_app_whose_own_host_is_taken_is_not_made(office: Office) -> None:
    office.add_app("shop", 1, live=1, spec=spec(web(), host="blog.localhost"))
    done = await office.run("apps:create", "blog")
    assert (done.code, done.err) == (1, "blog.localhost is in use by another app: choose another name")


async def test_what_was_tried_leaves_a_row(office: Office) -> None:
    office.add_app("shop")
    await office.run("ps:stop", "shop", "web")
    await office.run("maintenance:on", "shop")
    with office.store.read() as tx:
        found = [(row.action, row.result) for row in tx.events.of("shop")]
    assert found == [("maintenance:on", "ok"), ("ps:stop", "nothing of shop is live: push to it")]


async def test_https_needs_its_port(office: Office) -> None:
    office.add_app("shop")
    for words in (("domains:https", "shop", "on"), ("domains:ca", "shop")):
        done = await office.run(*words)
        assert (done.code, "set https_port" in done.err) == (1, True)
    assert (await office.run("domains:https", "shop", "off")).code == 0


async def test_maintenance_is_kept_and_shown(office: Office) -> None:
    async def shown() -> tuple[str, str | None]:
        """The state and the message, the same wherever they are printed."""
        [row] = json.loads((await office.run("apps", "-o", "json")).out)
        info = json.loads((await office.run("apps:info", "shop", "-o", "json")).out)
        keys = ("maintenance", "maintenance_message")
        assert [row[key] for key in keys] == [info[key] for key in keys]
        return info["maintenance"], info["maintenance_message"]

    office.add_app("shop")
    done = await office.run("maintenance:on", "shop", "--message", "Back at noon")
    assert "its processes and cron jobs go on" in done.out
    assert await shown() == ("on", "Back at noon")
    assert (await office.run("maintenance:on", "shop", "--message", "off")).code == 0
    assert await shown() == ("on", "off")
    assert (await office.run("maintenance:on", "shop")).code == 0
    assert await shown() == ("on", None)
    for message in ("x" * 501, "two\nlines", "\x1b[2J"):
        assert (await office.run("maintenance:on", "shop", "--message", message)).code == 2
    assert (await office.run("maintenance:off", "shop")).code == 0
    assert await shown() == ("off", None)


async def test_clone_has_settings_and_only_the_names_of_values(office: Office) -> None:
    await office.run("apps:create", "shop", "--size", "mini", "--branch", "trunk", "--env", "B=1", "--env", "A=2")
    done = await office.run("apps:clone", "shop", "shop-b")
    assert (done.code, done.err) == (0, "")
    assert "config:set shop-b A=… B=…" in done.out
    assert (await office.run("apps:clone", "shop", "shop-c", "--with-secrets")).code == 0
    with office.store.read() as tx:
        assert (tx.apps.layer("shop-b").size, tx.apps.get("shop-b").branch) == ("mini", "trunk")
        assert (tx.apps.config("shop-b"), tx.apps.config("shop-c")) == ({}, {"A": "2", "B": "1"})
    assert sorted(path.name for path in (Path(office.folder) / "repos").iterdir()) == ["shop-b.git", "shop-c.git"]
    assert (await office.run("apps:clone", "shop", "blog", who=LIMITED)).code == 1
    assert (await office.run("apps:clone", "shop", "../x")).code == 2
    assert (await office.run("rebuild", "shop-b")).err == "nothing of shop-b is live: push to it"


async def test_a_name_that_the_app_does_not_have_is_no_matter_of_usage(office: Office) -> None:
    """Whatever is named: its command line would fit an app that has it."""
    office.add_app("shop", 1, live=1)
    for words in (
        ("ps:scale", "shop", "nope=1"),
        ("ps:stop", "shop", "web", "nope"),
        ("ps:start", "shop", "nope"),
        ("ps:restart", "shop", "nope"),
        ("cron:run", "shop", "nope"),
        ("releases:info", "shop", "v7"),
        ("deploys:info", "shop", "7"),
        ("run:logs", "shop", "run.7"),
        ("config:get", "shop", "NOPE"),
        ("apps:update", "shop", "--delete-worker-job", "nope"),
        ("domains:remove", "shop", "www.shop.ch"),
    ):
        assert (await office.run(*words)).code == 1, words


@pytest.mark.parametrize("words", [("ps:stop", "shop"), ("ps:start", "shop", "web"), ("ps:restart", "shop")])
async def test_what_is_not_live_has_no_processes(office: Office, words: tuple[str, ...]) -> None:
    office.add_app("shop")
    done = await office.run(*words)
    assert (done.code, done.err) == (1, "nothing of shop is live: push to it")
