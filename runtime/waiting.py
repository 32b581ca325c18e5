"""The clock of waits, and waiting for what must not be left halfway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from runtime.errors import DeadlinePassed

Given = TypeVar("Given")


async def see_through(work: Coroutine[Any, Any, Given] | asyncio.Task[Given]) -> Given:
    """The result of `work`, which goes on to its end however often its caller is cancelled meanwhile.

    A caller that was cancelled learns of it afterwards, whatever `work` gave.
    """
    task = work if isinstance(work, asyncio.Task) else asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from (None if task.cancelled() else task.exception())
    return task.result()


async def until_turn(turn: asyncio.Future[None], what: str, wait: float, leave: Callable[[], None]) -> None:
    """Wait up to `wait` seconds for one's turn; who goes away or runs out of time is to `leave` the line.

    Raises DeadlinePassed, naming what was waited for.
    """
    try:
        async with asyncio.timeout(wait):
            await turn
    except BaseException as error:
        leave()
        if isinstance(error, TimeoutError):
            raise DeadlinePassed(what, wait) from None
        raise


def ticks() -> float:
    """Seconds on the clock that waits are measured by: the event loop's, so that a test can run it faster."""
    return asyncio.get_running_loop().time()


async def together(*works: Coroutine[Any, Any, Given]) -> list[Given]:
    """The results of all, done side by side. When some fail, the first error, once every other has ended too."""
    ended = await asyncio.gather(*works, return_exceptions=True)
    for result in ended:
        if isinstance(result, BaseException):
            raise result
    return [result for result in ended if not isinstance(result, BaseException)]
