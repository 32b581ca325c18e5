"""What is sent of an alert: a JSON object, with what the deploy or the run wrote last."""

from __future__ import annotations

import json
import zlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from runtime.alerts.model import Alert
from runtime.deploylog import DeployLogs
from runtime.model import Secret
from runtime.scheduler.jobs import Key
from runtime.scheduler.runlog import RunLogs
from runtime.store import Store
from runtime.story import Story

TAIL: Final = 50  # lines
LONGEST_LINE: Final = 500  # characters


class Payloads:
    """Makes the body that is sent; values of the app's config do not leave with it."""

    def __init__(self, store: Store, deploys: DeployLogs, runs: RunLogs) -> None:
        self._store = store
        self._deploys = deploys
        self._runs = runs

    def body(self, alert: Alert) -> bytes:
        clean = Scrubber(self._secrets(alert.cause.app))
        tail = [clean(line)[:LONGEST_LINE] for line in self._tail(alert)]
        return json.dumps(payload(alert, clean(alert.cause.error), tail)).encode()

    def _secrets(self, app: str | None) -> tuple[Secret, ...]:
        if app is None:
            return ()
        with self._store.read() as tx:
            values = [*tx.apps.config(app).values(), tx.apps.redis_password(app)]
        return tuple(Secret(value) for value in values if value)

    def _tail(self, alert: Alert) -> Iterable[str]:
        cause = alert.cause
        try:
            if cause.app is not None and cause.deploy is not None:
                return self._deploys.tail(cause.app, cause.deploy, TAIL)
            if cause.app is not None and cause.job is not None and cause.run is not None:
                lines = self._runs.read(Key(cause.app, cause.job), cause.run) or ()
                return [line.text for line in deque(lines, maxlen=TAIL)]
        except (OSError, EOFError, ValueError, zlib.error) as error:  # also a log that was cut off by a power cut
            return [f"(the log can not be read: {error})"]
        return []


class Scrubber:
    """Makes a text fit to be sent: the story's own way with secrets and with control characters."""

    def __init__(self, secrets: tuple[Secret, ...]) -> None:
        self._lines: list[str] = []
        self._story = Story(self._lines.append)
        self._story.hide(secrets)

    def __call__(self, text: str) -> str:
        self._story.line(text)
        return self._lines.pop()


def payload(alert: Alert, error: str, tail: list[str]) -> dict[str, Any]:
    """Every key is always there; docs/manifest/app.yaml says what they mean."""
    cause = alert.cause
    return {
        "alert_id": alert.id,
        "kind": cause.kind.value,
        "app": cause.app,
        "status": cause.status,
        "error": error,
        "deploy_id": cause.deploy,
        "job": cause.job,
        "run_id": cause.run,
        "slot": None if cause.slot is None else cause.slot.isoformat(),
        "exit_code": cause.exit_code,
        "raised_at": alert.raised_at.isoformat(),
        "log_tail": "\n".join(tail),
    }
