"""The store: one SQLite file that says what should run. Two processes share it."""

from runtime.store.store import Store, Transaction, prepare_store

__all__ = ["Store", "Transaction", "prepare_store"]
