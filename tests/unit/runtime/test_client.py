"""What the engine's refusals are raised as."""

from __future__ import annotations

import pytest

from runtime.engine.client import refusal
from runtime.errors import Conflict, EngineError, NotFound


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (404, "No such container: shop", NotFound),
        (409, "the container name is already in use", Conflict),
        (409, "can not get logs from container which is dead or marked for removal", NotFound),
        (500, "no space left on device", EngineError),
    ],
)
def test_refusal_has_the_kind_that_callers_act_on(status: int, said: str, kind: type[EngineError]) -> None:
    found = refusal(status, f'{{"message": "{said}"}}'.encode())
    assert type(found) is kind
    assert str(found) == f"docker engine: {said}"
