"""The operator's commands, one file for each noun; importing a file declares its commands."""

from __future__ import annotations

from gitreceive.commands import (
    alerts,
    apps,
    config,
    cron,
    deploys,
    domains,
    enter,
    events,
    keys,
    logs,
    maintenance,
    manual,
    ps,
    redis,
    releases,
    run,
)
from gitreceive.commands.base import registry, run_tree
from gitreceive.commands.desk import Desk, Operations
from gitreceive.model import Streams
from runtime.model import Key

NOUNS = (
    apps,
    ps,
    run,
    enter,
    domains,
    maintenance,
    logs,
    config,
    releases,
    deploys,
    cron,
    redis,
    alerts,
    events,
    keys,
    manual,
)


class Commands:
    """Implements `gitreceive.model.CommandDoor`."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations

    async def run(self, operator: Key, words: tuple[str, ...], streams: Streams) -> int:
        return await run_tree(registry.tree(), words, Desk(operator, self.operations, streams))
