from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.rig import Rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    # Not tmp_path: its long names do not fit into a unix socket's path.
    with tempfile.TemporaryDirectory(prefix="ls-int-") as folder:
        rig = Rig(Path(folder))
        await rig.start()
        yield rig
        await rig.server.close(0.0)
