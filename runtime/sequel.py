"""What follows a deploy once it is live: settings of the app that are no part of a release."""

from __future__ import annotations

from runtime.model import Sequel
from runtime.store import Transaction


def carry_out(tx: Transaction, app: str, sequel: Sequel) -> Sequel | None:
    """Write what stands in the store; what is left to be done elsewhere, None when nothing is."""
    if sequel.branch is not None:
        tx.apps.set_branch(app, sequel.branch)
    for process, replicas in sequel.replicas.items():
        if replicas is None:
            tx.apps.unset_scale(app, process)
        else:
            tx.apps.set_scale(app, process, replicas)
    return None if sequel.ref is None else Sequel(ref=sequel.ref)
