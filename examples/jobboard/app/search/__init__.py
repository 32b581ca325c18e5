"""Search: the index, and the worker that is the only one to write it."""
