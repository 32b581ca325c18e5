"""The links that say which release answers, in a real folder."""

from __future__ import annotations

from pathlib import Path

from runtime.names import Handle
from runtime.switchboard import Switchboard, Target

SHOP = Handle("shop")
V1, V2 = Target("lockstep-shop-web-v1", 8000), Target("lockstep-shop-web-v2", 8000)


def listed(folder: Path, app: str) -> list[str]:
    """What the router's file matcher finds behind an app's link."""
    return sorted(entry.name for entry in (folder / "live" / app).iterdir())


def test_a_link_leads_to_one_file_that_names_the_target(tmp_path: Path) -> None:
    board = Switchboard(tmp_path)
    assert board.target(SHOP) is None
    assert board.point(SHOP, V1)
    assert listed(tmp_path, "shop") == ["lockstep-shop-web-v1@8000"]
    assert board.target(SHOP) == V1
    assert not board.point(SHOP, V1)


def test_another_link_takes_its_place(tmp_path: Path) -> None:
    board = Switchboard(tmp_path)
    board.point(SHOP, V1)
    assert board.point(SHOP, V2)
    assert listed(tmp_path, "shop") == ["lockstep-shop-web-v2@8000"]
    assert board.apps() == ["shop"]


def test_links_are_relative_so_that_the_container_can_follow_them(tmp_path: Path) -> None:
    Switchboard(tmp_path).point(Handle("shop"), V1)
    assert not (tmp_path / "live" / "shop").readlink().is_absolute()


def test_a_link_that_leads_nowhere_is_made_again(tmp_path: Path) -> None:
    board = Switchboard(tmp_path)
    board.point(SHOP, V1)
    (tmp_path / "targets" / V1.name / V1.name).unlink()
    assert board.target(SHOP) is None
    assert board.point(SHOP, V1)
    assert board.target(SHOP) == V1


def test_a_forgotten_app_has_no_link(tmp_path: Path) -> None:
    board = Switchboard(tmp_path)
    board.point(SHOP, V1)
    assert board.forget(SHOP)
    assert not board.forget(SHOP)
    assert board.apps() == []


def test_tidying_keeps_what_is_linked(tmp_path: Path) -> None:
    board = Switchboard(tmp_path)
    board.tidy()
    board.point(SHOP, V1)
    board.point(SHOP, V2)
    board.tidy()
    assert sorted(entry.name for entry in (tmp_path / "targets").iterdir()) == [V2.name]
    assert board.target(SHOP) == V2
