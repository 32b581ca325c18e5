"""Names of engine objects: legal whatever is named, and never the same for two things."""

from __future__ import annotations

import re
from typing import Final

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime import names
from runtime.model import APP_NAME, PROCESS_NAME
from runtime.names import Handle
from runtime.services import redis

DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
VOLUME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")  # the engine's own rule

apps = st.from_regex(APP_NAME, fullmatch=True)
instances = apps.filter(lambda name: len(name) <= 20)
processes = st.from_regex(PROCESS_NAME, fullmatch=True)
releases = st.integers(1, 10**6)
folders = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=80)
Made = tuple[str, Handle, str, int]
services = st.tuples(instances, apps.map(Handle), processes, releases)


@settings(max_examples=100)
@given(services)
def test_service_is_a_dns_label(made_of: Made) -> None:
    assert DNS_LABEL.fullmatch(names.service(*made_of))


@settings(max_examples=100)
@given(services, services)
def test_two_services_never_share_a_name(one: Made, other: Made) -> None:
    assume(one != other)
    assert names.service(*one) != names.service(*other)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(["a", "b"]), min_size=4, max_size=6), st.data())
def test_hyphens_of_the_parts_do_not_mix_them_up(words: list[str], data: st.DataObject) -> None:
    """The same words, cut into instance, app and process at different places."""
    cuts = [(i, j) for i in range(1, len(words)) for j in range(i + 1, len(words))]
    (a, b), (c, d) = data.draw(st.lists(st.sampled_from(cuts), min_size=2, max_size=2, unique=True))
    one = names.service("-".join(words[:a]), Handle("-".join(words[a:b])), "-".join(words[b:]), 1)
    other = names.service("-".join(words[:c]), Handle("-".join(words[c:d])), "-".join(words[d:]), 1)
    assert one != other


def test_process_of_one_app_is_not_the_web_of_another() -> None:
    assert names.service("lockstep", Handle("shop"), "api-web", 3) != names.service(
        "lockstep", Handle("shop-api"), "web", 3
    )
    assert names.network("a", Handle("b-c")) != names.network("a-b", Handle("c"))


def test_app_may_be_named_like_a_part_of_the_platform() -> None:
    for app in (redis.NETWORK, "services", "router", "redis", "shared-services"):
        assert names.network("lockstep", Handle(app)) != names.platform("lockstep", redis.NETWORK)


@settings(max_examples=100)
@given(instances, apps, folders, folders)
def test_volume_is_legal_and_its_own(instance: str, app: str, folder: str, other: str) -> None:
    assume(folder.strip("/") != other.strip("/"))
    assert VOLUME.fullmatch(names.volume(instance, Handle(app), folder))
    assert names.volume(instance, Handle(app), folder) != names.volume(instance, Handle(app), other)


@settings(max_examples=100)
@given(instances, apps, processes, st.from_regex(r"[dr][0-9]{1,6}(-[0-9])?", fullmatch=True))
def test_one_off_is_a_dns_label(instance: str, app: str, what: str, ticket: str) -> None:
    assert DNS_LABEL.fullmatch(names.one_off(instance, app, what, ticket))


def test_plain_parts_are_joined_as_they_are() -> None:
    assert names.service("lockstep", Handle("shop"), "web", 12) == "lockstep-shop-web-v12"
    assert names.network("lockstep", Handle("shop")) == "lockstep-shop"
    assert names.volume("lockstep", Handle("shop"), "/data/") == "lockstep-shop-data"
    assert names.platform("lockstep", "router") == "lockstep-router"
    assert names.image("lockstep", Handle("shop"), 3) == "lockstep/shop:v3"


def test_underscores_and_hyphens_are_kept_apart() -> None:
    made = {names.service("lockstep", Handle("shop"), process, 1) for process in ("send_mail", "send-mail", "sendmail")}
    assert len(made) == 3
    assert all(DNS_LABEL.fullmatch(name) for name in made)


def test_long_parts_are_cut_and_kept_apart() -> None:
    one, other = (names.service("lockstep", Handle("a" * 40), "b" * 39 + last, 1) for last in "xy")
    assert len(one) == names.LONGEST == 63
    assert one != other
    assert names.service("lockstep", Handle("a" * 40), "b" * 40, 1) != names.service(
        "lockstep", Handle("a" * 40), "b" * 40, 2
    )


def test_same_parts_have_the_same_name() -> None:
    assert names.volume("lockstep", Handle("shop"), "data/Ünï") == names.volume("lockstep", Handle("shop"), "data/Ünï")


def test_labels_hold_what_applies() -> None:
    assert names.labels("lockstep", names.WEB, app=Handle("shop"), release=3, process="web") == {
        "lockstep.instance": "lockstep",
        "lockstep.kind": "web",
        "lockstep.app": "shop",
        "lockstep.release": "3",
        "lockstep.process": "web",
    }
    assert names.labels("lockstep", names.PLATFORM) == {"lockstep.instance": "lockstep", "lockstep.kind": "platform"}
