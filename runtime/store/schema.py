"""The tables. Moments are ISO texts in UTC, so that they sort and can be read with any tool."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

metadata = MetaData()


class Moment(TypeDecorator[datetime]):
    """An aware datetime, kept as an ISO text in UTC."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> str | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Any) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


apps = Table(
    "apps",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("current_release", Integer),  # the commit point of every deploy
    Column("branch", Text),
    Column("layer", Text),  # JSON of layer.Layer: settings of the app that outrank its manifest
    Column("maintenance", Text),  # what visitors read instead of the app; NULL: it answers itself
    Column("https_only", Integer, nullable=False, default=0),
    Column("held_by", Integer),  # the deploy that keeps cron runs of this app from starting
    Column("redis_password", LargeBinary),
    Column("handle", Text),  # what its engine objects and Redis keys are named by; NULL: by its name
    Column("moved_from", Text),  # the name that its folders may still have, while the app is renamed
    ForeignKeyConstraint(
        ["name", "current_release"], ["releases.app", "releases.number"], name="current", use_alter=True
    ),
    Index("apps_by_handle", text("coalesce(handle, name)"), unique=True),
)

releases = Table(
    "releases",
    metadata,
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("made_as", Text),  # the app's name at that time, NULL: the one it has
    Column("commit", Text, nullable=False),
    Column("image", Text, nullable=False),  # JSON of model.Image
    Column("spec", Text, nullable=False),  # JSON of model.AppSpec
    Column("asked", Text),  # the same, as the manifest alone has it; NULL: no different
    Column("layer", Text),  # JSON of layer.Layer as it was when the release was made
    Column("config", LargeBinary, nullable=False),  # sealed JSON of the config snapshot
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("live_at", Moment),  # when it first went live
    Column("image_gone", Integer, nullable=False, default=0),
)

config = Table(
    "config",
    metadata,
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("changed_by", Text, nullable=False),
)

config_changes = Table(
    "config_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),  # the description of the release that brought it
    Column("names", Text, nullable=False),  # JSON: name -> "set", "changed" or "unset"; never a value
    Index("config_changes_by_app", "app", "id"),
    sqlite_autoincrement=True,
)

scales = Table(
    "scales",
    metadata,
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), primary_key=True),
    Column("process", Text, primary_key=True),
    Column("replicas", Integer, nullable=False),
)

stops = Table(
    "stops",
    metadata,
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), primary_key=True),
    Column("process", Text, primary_key=True),  # "*": all, also those that later releases bring
)

domains = Table(
    "domains",
    metadata,
    Column("host", Text, primary_key=True),
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), nullable=False),
    Column("added_at", Moment, nullable=False),
    Column("added_by", Text, nullable=False),
    Index("domains_by_app", "app"),
)

deploys = Table(
    "deploys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("commit", Text),
    Column("release", Integer),
    Column("previous", Integer),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("error", Text),
    Column("phases", Text, nullable=False, default="{}"),
    Column("worker_pause", Float),  # seconds
    Column("sequel", Text),  # JSON of model.Sequel: what is to be done once it is live, until it was
    Index("deploys_by_app", "app", "id"),
    sqlite_autoincrement=True,
)

journal = Table(
    "journal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("deploy", Integer, ForeignKey("deploys.id", ondelete="CASCADE"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("state", Text, nullable=False),
)

cron_jobs = Table(
    "cron_jobs",
    metadata,
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), primary_key=True),
    Column("job", Text, primary_key=True),  # "*" is the app's own row: suspended there, all jobs are
    Column("cursor", Moment, nullable=False),  # slots up to and including this moment are dealt with
    Column("timing", Text),  # schedule and zone that the cursor belongs to; NULL: the live release has no such job
    Column("suspended_at", Moment),
    Column("suspended_by", Text),
)

cron_runs = Table(
    "cron_runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), nullable=False),
    Column("job", Text, nullable=False),
    Column("slot", Moment, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("release", Integer),
    Column("stands_for", Integer, nullable=False, default=1),
    Column("attempt", Integer, nullable=False, default=1),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("exit_code", Integer),
    Column("reason", Text),
    Column("who", Text),
    Column("stop", Text),  # why it is to be stopped, from the moment that is wanted
    Column("retry_at", Moment),  # when it is to be tried again, until it was
    Column("serial", Text),  # its job's serial group
    UniqueConstraint("app", "job", "slot"),
    Index("runs_by_job", "app", "job", "id"),
    Index("runs_open", "state", sqlite_where=text("state in ('due', 'running')")),
    Index("runs_to_retry", "retry_at", sqlite_where=text("retry_at is not null")),
    sqlite_autoincrement=True,
)

runs = Table(
    "runs",
    metadata,
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("process", Text, nullable=False),  # whose environment and limits it has
    Column("command", Text, nullable=False),
    Column("release", Integer, nullable=False),
    Column("detached", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("timeout", Float),  # seconds; NULL: it ends with its client
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("exit_code", Integer),
    Column("reason", Text),
    Column("stop", Text),  # why it is to be stopped, from the moment that is wanted
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("next_due", Moment),
    Column("jobs", Integer, nullable=False, default=0),  # that have a next slot
    Column("running", Integer, nullable=False, default=0),  # runs under way
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("about", Text, nullable=False, unique=True),  # what there can be only one alert of
    Column("app", Text, ForeignKey("apps.name", ondelete="CASCADE")),  # NULL: of the platform
    Column("cause", Text, nullable=False),  # JSON of runtime.alerts.model.Cause
    Column("url", Text),  # where it is sent, NULL: nowhere
    Column("raised_at", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("next_try_at", Moment),  # when it is sent next, NULL: not any more
    Index("alerts_by_app", "app", "id"),
    Index("alerts_to_send", "next_try_at", sqlite_where=text("next_try_at is not null")),
    sqlite_autoincrement=True,
)

alert_tries = Table(
    "alert_tries",
    metadata,
    Column("alert", Integer, ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("status", Integer),  # of the HTTP answer
    Column("error", Text),  # with neither: under way, or the server stopped meanwhile
)

keys = Table(
    "keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("public", Text, nullable=False, unique=True),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("apps", Text, nullable=False, default="[]"),
    Column("commands", Text, nullable=False, default="[]"),
    Column("added_at", Moment, nullable=False),
    Column("used_at", Moment),
    CheckConstraint("role in ('admin', 'developer', 'viewer')", name="role_known"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("app", Text),
    Column("action", Text, nullable=False),
    Column("detail", Text, nullable=False, default=""),
    Column("result", Text, nullable=False),
    Column("source", Text, nullable=False, default=""),  # the address it came from, "" for the server itself
    Index("events_by_app", "app", "id"),
    sqlite_autoincrement=True,
)
