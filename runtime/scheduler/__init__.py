"""Cron: a process of its own that claims each slot as a row and runs it from the live release.

From the bottom up: `schedule`, `policy`, `planner` and `ending` decide and touch nothing; `ledger` is what is
written in the store; `containers` and `runlog` are the engine and the disk; `execution` is the story of one run;
`loop` is the process. `operations` is what commands call, in the server.
"""
