-- The first format. It never changes: later formats are made by later migrations.

CREATE TABLE apps (
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    current_release INTEGER,
    branch TEXT,
    layer TEXT,
    maintenance TEXT,
    https_only INTEGER NOT NULL,
    held_by INTEGER,
    redis_password BLOB,
    PRIMARY KEY (name),
    CONSTRAINT current FOREIGN KEY(name, current_release) REFERENCES releases (app, number)
);

CREATE TABLE events (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    app TEXT,
    action TEXT NOT NULL,
    detail TEXT NOT NULL,
    result TEXT NOT NULL,
    source TEXT NOT NULL
);

CREATE INDEX events_by_app ON events (app, id);

CREATE TABLE heartbeats (
    name TEXT NOT NULL,
    at TEXT NOT NULL,
    pid INTEGER NOT NULL,
    next_due TEXT,
    jobs INTEGER NOT NULL,
    running INTEGER NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE keys (
    name TEXT NOT NULL,
    public TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    role TEXT NOT NULL,
    apps TEXT NOT NULL,
    commands TEXT NOT NULL,
    added_at TEXT NOT NULL,
    used_at TEXT,
    PRIMARY KEY (name),
    CONSTRAINT role_known CHECK (role in ('admin', 'developer', 'viewer')),
    UNIQUE (public),
    UNIQUE (fingerprint)
);

CREATE TABLE config (
    app TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    changed_at TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    PRIMARY KEY (app, name),
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE TABLE config_changes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    names TEXT NOT NULL,
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE INDEX config_changes_by_app ON config_changes (app, id);

CREATE TABLE cron_jobs (
    app TEXT NOT NULL,
    job TEXT NOT NULL,
    cursor TEXT NOT NULL,
    timing TEXT,
    suspended_at TEXT,
    suspended_by TEXT,
    PRIMARY KEY (app, job),
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE TABLE cron_runs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL,
    job TEXT NOT NULL,
    slot TEXT NOT NULL,
    "trigger" TEXT NOT NULL,
    state TEXT NOT NULL,
    release INTEGER,
    stands_for INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    exit_code INTEGER,
    reason TEXT,
    who TEXT,
    stop TEXT,
    retry_at TEXT,
    serial TEXT,
    UNIQUE (app, job, slot),
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE INDEX runs_by_job ON cron_runs (app, job, id);

CREATE INDEX runs_open ON cron_runs (state) WHERE state in ('due', 'running');

CREATE INDEX runs_to_retry ON cron_runs (retry_at) WHERE retry_at is not null;

CREATE TABLE deploys (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    who TEXT NOT NULL,
    "commit" TEXT,
    release INTEGER,
    previous INTEGER,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    error TEXT,
    phases TEXT NOT NULL,
    worker_pause FLOAT,
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE INDEX deploys_by_app ON deploys (app, id);

CREATE TABLE releases (
    app TEXT NOT NULL,
    number INTEGER NOT NULL,
    "commit" TEXT NOT NULL,
    image TEXT NOT NULL,
    spec TEXT NOT NULL,
    asked TEXT,
    layer TEXT,
    config BLOB NOT NULL,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    description TEXT NOT NULL,
    live_at TEXT,
    image_gone INTEGER NOT NULL,
    PRIMARY KEY (app, number),
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE TABLE runs (
    app TEXT NOT NULL,
    number INTEGER NOT NULL,
    process TEXT NOT NULL,
    command TEXT NOT NULL,
    release INTEGER NOT NULL,
    detached INTEGER NOT NULL,
    state TEXT NOT NULL,
    who TEXT NOT NULL,
    created_at TEXT NOT NULL,
    timeout FLOAT,
    started_at TEXT,
    ended_at TEXT,
    exit_code INTEGER,
    reason TEXT,
    stop TEXT,
    PRIMARY KEY (app, number),
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE TABLE scales (
    app TEXT NOT NULL,
    process TEXT NOT NULL,
    replicas INTEGER NOT NULL,
    PRIMARY KEY (app, process),
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE TABLE stops (
    app TEXT NOT NULL,
    process TEXT NOT NULL,
    PRIMARY KEY (app, process),
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE TABLE domains (
    host TEXT NOT NULL,
    app TEXT NOT NULL,
    added_at TEXT NOT NULL,
    added_by TEXT NOT NULL,
    PRIMARY KEY (host),
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE INDEX domains_by_app ON domains (app);

CREATE TABLE journal (
    id INTEGER NOT NULL,
    deploy INTEGER NOT NULL,
    at TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(deploy) REFERENCES deploys (id) ON DELETE CASCADE
);

CREATE TABLE alerts (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    about TEXT NOT NULL,
    app TEXT,
    cause TEXT NOT NULL,
    url TEXT,
    raised_at TEXT NOT NULL,
    state TEXT NOT NULL,
    next_try_at TEXT,
    UNIQUE (about),
    FOREIGN KEY(app) REFERENCES apps (name) ON DELETE CASCADE
);

CREATE INDEX alerts_by_app ON alerts (app, id);

CREATE INDEX alerts_to_send ON alerts (next_try_at) WHERE next_try_at is not null;

CREATE TABLE alert_tries (
    alert INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at TEXT NOT NULL,
    status INTEGER,
    error TEXT,
    PRIMARY KEY (alert, number),
    FOREIGN KEY(alert) REFERENCES alerts (id) ON DELETE CASCADE
);
