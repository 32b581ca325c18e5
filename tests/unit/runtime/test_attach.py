"""A container gets its address on a network also from a Swarm that was too busy at first."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runtime.engine.client import Engine
from runtime.engine.events import Events
from runtime.engine.fleet import Fleet
from runtime.errors import EngineError

BUSY = "attaching to network failed, make sure your network options are correct: context deadline exceeded"


class Refusing:
    """An engine that refuses to connect with these sentences, one after the other."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.asked = 0

    async def get(self, _: str) -> Any:
        return {"NetworkSettings": {"Networks": {}}}

    async def post(self, path: str, _: Any) -> None:
        assert path == "/networks/shop/connect"
        self.asked += 1
        if self.refusals:
            raise EngineError(self.refusals.pop(0))


@pytest.mark.parametrize(("refusals", "asked"), [((), 1), ((BUSY,), 2)])
async def test_address_is_given(refusals: tuple[str, ...], asked: int) -> None:
    engine = Refusing(*refusals)
    fleet = Fleet(cast(Engine, engine), cast(Events, None), "lockstep")
    assert await fleet.attach("router", "shop")
    assert engine.asked == asked


@pytest.mark.parametrize(("refusals", "asked"), [((BUSY, BUSY), 2), (("no such network",), 1)])
async def test_address_is_refused(refusals: tuple[str, ...], asked: int) -> None:
    engine = Refusing(*refusals)
    fleet = Fleet(cast(Engine, engine), cast(Events, None), "lockstep")
    with pytest.raises(EngineError):
        await fleet.attach("router", "shop")
    assert engine.asked == asked
