"""Host names that an operator gives: what is one, and whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import UsageError
from runtime.hosts import HostTaken, check_free, host_name
from runtime.store import Store
from tests.unit.runtime.samples import NOW, release, settings, web


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("shop.example.com", "shop.example.com"),
        ("WWW.Example.COM.", "www.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a.b.localhost", "a.b.localhost"),
    ],
)
def test_host_names(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "shop", "*.example.com", "a..b", "-a.example", "a-.example", "a_b.example", "a b.example"),
        *(
            "10.0.0.1",
            "::1",
            "example.com:80",
            "http://example.com",
            "a.example/x",
            "{env.X}.example",
            "x" * 64 + ".ch",
        ),
        *(".".join(["a" * 60] * 5), "a\n.example", "é́.\u0378"),
    ],
)
def test_what_is_no_host_name(text: str) -> None:
    with pytest.raises(UsageError):
        host_name(text)


def test_whose_a_host_name_is(tmp_path: Path, store: Store) -> None:
    here = settings(tmp_path, domain="apps.example.org")
    with store.write() as tx:
        for name in ("shop", "blog"):
            tx.apps.create(name, NOW)
        tx.releases.add(release(web(), app="blog", host="www.blog.ch"))
        tx.apps.set_current("blog", 1)
        tx.faces.add_domain("blog", "blog.example.com", "anna", NOW)
        for host in ("blog.example.com", "www.blog.ch", "blog.apps.example.org"):
            with pytest.raises(HostTaken) as taken:
                check_free(tx, here, host, "shop")
            assert taken.value.app == "blog"
            assert "blog:" not in str(taken.value)
        with pytest.raises(UsageError, match="is kept for an app of the name later"):
            check_free(tx, here, "later.apps.example.org", "shop")
        for host in ("shop.example.com", "a.b.apps.example.org", "apps.example.org"):
            check_free(tx, here, host, "shop")
        check_free(tx, here, "blog.example.com", "blog")


def test_faces_of_all_apps_are_those_of_each(store: Store) -> None:
    with store.write() as tx:
        for app in ("blog", "shop", "wiki"):
            tx.apps.create(app, NOW)
        for host in ("www.example.com", "shop.example.com"):
            tx.faces.add_domain("shop", host, "anna", NOW)
        tx.faces.set_maintenance("wiki", "Back at noon")
        tx.faces.set_https_only("wiki", True)
    with store.read() as tx:
        assert tx.faces.all() == {app: tx.faces.of(app) for app in ("blog", "shop", "wiki")}
        assert tx.faces.all()["shop"].domains == ("shop.example.com", "www.example.com")
