"""What a deploy would change, as lines for a person: pure, nothing is asked or done."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.model import AppSpec, CronJob, Process, Value

NOTHING = "nothing changes in processes, cron, hooks, services and variables"


def difference(live: AppSpec | None, wanted: AppSpec) -> list[str]:
    """One line for each thing that `wanted` adds (+), removes (-) or changes (~)."""
    before = live if live is not None else AppSpec(dialect=wanted.dialect)
    lines = [
        *_compare("process", _by_name(before.processes), _by_name(wanted.processes)),
        *_compare("cron job", _by_name(before.crons), _by_name(wanted.crons)),
        *_compare("hook", _by_name(before.hooks), _by_name(wanted.hooks)),
        *_compare("variable", _env(before), _env(wanted), shown=False),
        *_compare("folder", _flags(before.persist), _flags(wanted.persist)),
        *_compare("service", _services(before), _services(wanted)),
        *_compare("setting", _settings(before), _settings(wanted)),
    ]
    return lines or [NOTHING]


def _compare(what: str, before: Mapping[str, object], after: Mapping[str, object], *, shown: bool = True) -> list[str]:
    lines = [f"- {what} {name}" for name in before if name not in after]
    for name, value in after.items():
        if name not in before:
            lines.append(f"+ {what} {name}{_described(value) if shown else ''}")
        elif before[name] != value:
            lines.append(f"~ {what} {name}{_changes(before[name], value) if shown else ''}")
    return lines


def _described(value: object) -> str:
    if isinstance(value, Process):
        return f" x{value.replicas}: {value.command or 'the command of the image'}"
    if isinstance(value, CronJob):
        return f": {value.schedule}  {value.command}"
    return f": {value}" if isinstance(value, str) and value else ""


def _changes(before: object, after: object) -> str:
    if not isinstance(before, Value) or not isinstance(after, Value):
        return f": {before} -> {after}"
    old, new = before.model_dump(), after.model_dump()
    return ": " + ", ".join(f"{key} {old[key]} -> {new[key]}" for key in new if old.get(key) != new[key])


def _by_name(items: tuple[Process, ...] | tuple[CronJob, ...] | tuple[Value, ...]) -> dict[str, object]:
    return {str(getattr(item, "name", item)): item for item in items}


def _env(spec: AppSpec) -> dict[str, object]:
    secrets = dict.fromkeys(spec.secrets)
    return {**secrets, **{variable.name: variable.value for variable in spec.env}}


def _flags(names: tuple[str, ...]) -> dict[str, object]:
    return dict.fromkeys(names, "")


def _services(spec: AppSpec) -> dict[str, object]:
    return {"redis": ""} if spec.redis else {}


def _settings(spec: AppSpec) -> dict[str, object]:
    known = {"dialect": spec.dialect.value, "host": spec.host, "worker_failure": spec.worker_failure.value}
    return {name: value for name, value in known.items() if value is not None}
