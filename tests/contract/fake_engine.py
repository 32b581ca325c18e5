"""An engine in memory: `FakeEngine` is runtime's own client, but its requests are answered from a `World`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from runtime.engine.client import ANSWER_DEADLINE, Engine, encoded
from runtime.engine.client import refusal as refused
from runtime.errors import EngineUnreachable
from tests.contract.engine_api import Answer, Api, Call, Refusal
from tests.contract.fates import Fates
from tests.contract.swarm import Swarm
from tests.contract.world import World


class FakeEngine(Engine):
    """A connection to `world`; several servers may have one each, one after the other or at the same time."""

    def __init__(self, world: World, swarm: Swarm, fates: Fates | None = None) -> None:
        super().__init__("unix:///fake")
        self.world = world
        self._api = Api(world, swarm)
        self.fates = fates or Fates()

    async def open(self) -> FakeEngine:
        return self

    async def close(self) -> None:
        pass

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        params: dict[str, Any] | None = None,
        *,
        data: Any = None,
        headers: dict[str, str] | None = None,
        streaming: bool = False,
    ) -> AsyncIterator[Any]:
        call = Call(encoded(params or {}), json.loads(data) if isinstance(data, bytes) else None)
        what = f"{method} {path}"

        async def act() -> Answer:
            return await self._answer(method, path, call)

        lost = EngineUnreachable(f"cannot reach the docker engine at {self.host}: {what} was lost")
        patience = None if streaming else ANSWER_DEADLINE
        try:
            answer = await self.fates.around(what, act, lost, patience)
        except TimeoutError:
            raise EngineUnreachable(f"the docker engine at {self.host} did not answer {what} in time") from None
        yield answer

    async def _answer(self, method: str, path: str, call: Call) -> Answer:
        if not self.world.up:
            raise EngineUnreachable(f"cannot reach the docker engine at {self.host}: connection refused")
        await asyncio.sleep(0)
        try:
            return await self._api.answer(method, path, call)
        except Refusal as refusal:
            body = json.dumps({"message": str(refusal)}).encode()
            raise refused(refusal.status, body) from None
