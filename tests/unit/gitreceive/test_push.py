"""What a push asks and what becomes of its refs, without building anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from gitreceive.model import Push, RefResult, RefUpdate
from gitreceive.push import ABSENT, Options, Pushes, read_options
from runtime.errors import NoSuchApp, UsageError
from tests.unit.gitreceive.desk import Office
from tests.unit.runtime.samples import DEVELOPER

ONE, TWO = "1" * 40, "2" * 40


@dataclass
class Heard:
    """The lines that reach the pusher."""

    lines: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ((), Options()),
        (("no-cache",), Options(no_cache=True)),
        (("nowait", "no-cache"), Options(no_cache=True, nowait=True)),
        (("message=two words = one",), Options(message="two words = one")),
        (("message=",), Options(message="")),
        (("message=a", "message=b"), Options(message="b")),
        ((f"message={'x' * 500}",), Options(message="x" * 200)),
    ],
)
def test_options(words: tuple[str, ...], options: Options) -> None:
    assert read_options(words) == options


@pytest.mark.parametrize("word", ["nocache", "no-cache=1", "message", "NOWAIT", "", "--help", "x" * 100])
def test_unknown_option_is_named(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_options(("nowait", word))
    assert str(caught.value).startswith(
        f"push option '{word[:60]}' is not known: use one of plan, no-cache, nowait, mess"
    )


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commits that a push would deploy."""
    found: list[str] = []

    async def deploy(_: Pushes, push: Push, update: RefUpdate, *rest: Any) -> RefResult:
        found.append(update.new)
        return RefResult(update.ref, "build failed: no" if update.new == TWO else None)

    monkeypatch.setattr(Pushes, "_deploy", deploy)
    return found


async def pushed(office: Office, *updates: tuple[str, str, str]) -> tuple[dict[str, str | None], list[str]]:
    heard = Heard()
    push = Push("shop", tuple(RefUpdate(*update) for update in updates), (), DEVELOPER)
    results: tuple[RefResult, ...] = await office.pushes.push(push, heard)
    assert [result.ref for result in results] == [update[0] for update in updates]
    return {result.ref: result.error for result in results}, heard.lines


@pytest.mark.parametrize(
    ("brought", "chosen"),
    [
        (("main",), "main"),
        (("master",), "master"),
        (("trunk", "master", "main"), "main"),
        (("trunk", "master"), "master"),
        (("trunk", "other"), "trunk"),
    ],
)
async def test_first_push_chooses_the_branch(
    office: Office, deployed: list[str], brought: tuple[str, ...], chosen: str
) -> None:
    office.add_app()
    answers, lines = await pushed(office, *((f"refs/heads/{name}", ABSENT, ONE) for name in brought))
    assert set(answers.values()) == {None}
    assert deployed == [ONE]
    with office.store.read() as tx:
        assert tx.apps.get("shop").branch == chosen
    assert sorted(lines) == sorted(
        f"{name} is stored and not deployed: shop deploys {chosen}" for name in brought if name != chosen
    )


async def test_branch_stays_what_it_was(office: Office, deployed: list[str]) -> None:
    office.add_app()
    await pushed(office, ("refs/heads/trunk", ABSENT, ONE))
    answers, lines = await pushed(office, ("refs/heads/main", ABSENT, ONE))
    assert (answers, deployed) == ({"refs/heads/main": None}, [ONE])
    assert lines == ["main is stored and not deployed: shop deploys trunk"]


async def test_tags_alone_choose_no_branch(office: Office, deployed: list[str]) -> None:
    office.add_app()
    answers, _ = await pushed(office, ("refs/tags/v1", ABSENT, ONE))
    assert (answers, deployed) == ({"refs/tags/v1": None}, [])
    with office.store.read() as tx:
        assert tx.apps.get("shop").branch is None


async def test_each_ref_gets_its_own_answer(office: Office, deployed: list[str]) -> None:
    office.add_app()
    answers, _ = await pushed(
        office,
        ("refs/heads/main", ABSENT, TWO),
        ("refs/heads/side", ABSENT, ONE),
        ("refs/notes/commits", ABSENT, ONE),
        ("refs/tags/v1", ABSENT, ONE),
    )
    assert deployed == [TWO]
    assert answers == {
        "refs/heads/main": "build failed: no",
        "refs/heads/side": None,
        "refs/notes/commits": "only branches and tags are stored here",
        "refs/tags/v1": None,
    }


async def test_deploy_branch_is_not_deleted_and_others_are(office: Office, deployed: list[str]) -> None:
    office.add_app()
    await pushed(office, ("refs/heads/main", ABSENT, ONE))
    answers, lines = await pushed(office, ("refs/heads/main", ONE, ABSENT), ("refs/heads/side", ONE, ABSENT))
    assert answers == {
        "refs/heads/main": "main is what is deployed and can not be deleted",
        "refs/heads/side": None,
    }
    assert (deployed, lines) == ([ONE], [])


async def test_bad_option_stops_the_push_before_any_work(office: Office, deployed: list[str]) -> None:
    office.add_app()
    push = Push("shop", (RefUpdate("refs/heads/main", ABSENT, ONE),), ("plan-it",), DEVELOPER)
    with pytest.raises(UsageError, match="push option 'plan-it' is not known"):
        await office.pushes.push(push, Heard())
    with office.store.read() as tx:
        assert (deployed, tx.apps.get("shop").branch) == ([], None)


async def test_push_to_an_app_that_went_away(office: Office) -> None:
    with pytest.raises(NoSuchApp):
        await office.pushes.push(Push("shop", (RefUpdate("refs/heads/main", ABSENT, ONE),), (), DEVELOPER), Heard())
