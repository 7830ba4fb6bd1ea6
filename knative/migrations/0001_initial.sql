-- The state of Torpor. Forward only: a later migration adds, so that code one release older still runs on it.

CREATE TABLE users (
    username       TEXT PRIMARY KEY,
    password_hash  TEXT NOT NULL,
    role           TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'user')),
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at     TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Wrong passwords in a row, by the SHA-256 of the name that was typed, whether a user has it or not: a lock on real
-- names alone would tell which names are real. Rows an hour old are forgotten.
CREATE TABLE login_failures (
    name_sha256   BYTEA PRIMARY KEY,
    failures      INT NOT NULL,
    locked_until  TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX login_failures_by_age ON login_failures (updated_at);

-- A key is stored as the SHA-256 of its whole text: with 190 random bits a slow hash adds nothing (ASVS 6.5.2).
CREATE TABLE api_keys (
    id          TEXT PRIMARY KEY,
    key_sha256  BYTEA NOT NULL,
    name        TEXT NOT NULL,
    username    TEXT NOT NULL REFERENCES users (username) ON DELETE CASCADE,
    models      TEXT[] NOT NULL DEFAULT '{*}',
    actions     TEXT[] NOT NULL DEFAULT '{infer}',
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at  TIMESTAMPTZ,
    revoked_at  TIMESTAMPTZ
);
CREATE INDEX api_keys_by_user ON api_keys (username, created_at);

CREATE TABLE model_records (
    uuid                VARCHAR(255) PRIMARY KEY,
    model_name          VARCHAR(255) NOT NULL,
    hf_name             VARCHAR(255),
    minio_path          VARCHAR(512),
    external_source_id  INT,
    quant_level         VARCHAR(50),
    file_size_bytes     BIGINT,
    model_metadata      JSON DEFAULT '{}',
    status              VARCHAR(50) DEFAULT 'downloading',
    created_at          TIMESTAMPTZ DEFAULT now(),
    downloaded_at       TIMESTAMPTZ,
    updated_at          TIMESTAMPTZ DEFAULT now(),
    -- The commit or ETag that was pinned before the first byte.
    revision            TEXT,
    source              TEXT NOT NULL,
    -- The same request again finds this row: a digest of source, name and patterns; NULL once the record is deleted.
    request_key         TEXT UNIQUE,
    include             TEXT[] NOT NULL DEFAULT '{}',
    exclude             TEXT[] NOT NULL DEFAULT '{}',
    -- What to serve when the model is available: the body of POST /serve without the model; NULL serves nothing.
    serve               JSONB,
    actor               TEXT NOT NULL DEFAULT '',
    error_code          TEXT,
    error               TEXT
);
CREATE INDEX model_records_by_age ON model_records (created_at DESC, uuid);
CREATE INDEX model_records_by_name ON model_records (model_name);

CREATE TABLE model_files (
    model_uuid   VARCHAR(255) NOT NULL REFERENCES model_records (uuid) ON DELETE CASCADE,
    path         TEXT NOT NULL,
    size_bytes   BIGINT,
    sha256       TEXT,
    git_oid      TEXT,
    url          TEXT NOT NULL,
    etag         TEXT,
    status       TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'transferring', 'verified', 'failed')),
    bytes_done   BIGINT NOT NULL DEFAULT 0,
    rate_bps     DOUBLE PRECISION NOT NULL DEFAULT 0,
    upload_id    TEXT,
    -- The state of SHA-256 after bytes_done bytes, so that another instance goes on without reading them again.
    hash_state   BYTEA,
    attempts     INT NOT NULL DEFAULT 0,
    -- How often the source turned out to send another version than it began with: it starts anew a few times, then fails.
    restarts     INT NOT NULL DEFAULT 0,
    error        TEXT,
    lease_until  TIMESTAMPTZ,
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (model_uuid, path)
);

CREATE TABLE server_records (
    uuid               VARCHAR(255) PRIMARY KEY,
    model_uuid         VARCHAR(255) NOT NULL,
    model_name         VARCHAR(255) NOT NULL,
    status             VARCHAR(50) DEFAULT 'pending',
    runtime_params     JSON,
    memory_usage_mb    INT DEFAULT 0,
    memory_max_mb      INT DEFAULT 0,
    cpu_usage_percent  FLOAT DEFAULT 0.0,
    created_at         TIMESTAMPTZ DEFAULT now(),
    started_at         TIMESTAMPTZ,
    updated_at         TIMESTAMPTZ DEFAULT now(),
    pod_name           VARCHAR(255),
    service_name       VARCHAR(255),
    namespace          VARCHAR(255) DEFAULT 'default',
    endpoint           VARCHAR(512),
    gateway_url        VARCHAR(512),
    -- What was asked for, what the contract answered, and what the cluster last said.
    request            JSONB NOT NULL DEFAULT '{}',
    contract           JSONB,
    revision           TEXT,
    observed           JSONB NOT NULL DEFAULT '{}',
    error              TEXT,
    actor              TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX server_records_live_name ON server_records (namespace, service_name) WHERE status <> 'deleted';
CREATE INDEX server_records_by_model ON server_records (model_uuid);
CREATE INDEX server_records_by_age ON server_records (created_at DESC, uuid);

-- One row per request that an engine answered. The event's (source, id) and the place in its batch make it countable once.
CREATE TABLE usage (
    event_source       TEXT NOT NULL,
    event_id           TEXT NOT NULL,
    position           INT NOT NULL,
    request_id         TEXT NOT NULL,
    server_name        TEXT NOT NULL,
    model_name         TEXT NOT NULL,
    subject            TEXT NOT NULL,
    key_id             TEXT,
    prompt_tokens      BIGINT NOT NULL,
    completion_tokens  BIGINT NOT NULL,
    started_at         TIMESTAMPTZ NOT NULL,
    duration_ms        INT NOT NULL,
    status             INT NOT NULL,
    streamed           BOOLEAN NOT NULL,
    PRIMARY KEY (event_source, event_id, position)
);
CREATE INDEX usage_by_time ON usage (started_at DESC);
CREATE INDEX usage_by_subject ON usage (subject, started_at DESC);

-- Events written with the state change that caused them and published after its commit. A row leaves when the Broker has
-- accepted it. due_at moves forward while one publisher holds it (a lease) and backs off after each failure.
CREATE TABLE outbox (
    id          TEXT PRIMARY KEY,
    source      TEXT NOT NULL,
    type        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    extensions  JSONB NOT NULL DEFAULT '{}',
    data        JSONB NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    due_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    attempts    INT NOT NULL DEFAULT 0,
    last_error  TEXT
);
CREATE INDEX outbox_due ON outbox (source, due_at);

-- (source, id) of events whose effect is committed, per consumer: a duplicate finds its row and does nothing.
CREATE TABLE inbox (
    consumer      TEXT NOT NULL,
    source        TEXT NOT NULL,
    id            TEXT NOT NULL,
    processed_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, source, id)
);
CREATE INDEX inbox_by_age ON inbox (processed_at);

CREATE TABLE dead_letters (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       TEXT NOT NULL,
    event_id     TEXT NOT NULL,
    type         TEXT NOT NULL,
    subject      TEXT,
    extensions   JSONB NOT NULL DEFAULT '{}',
    data         BYTEA NOT NULL,
    error_dest   TEXT NOT NULL DEFAULT '',
    error_code   INT,
    error_data   TEXT,
    received_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (source, event_id, error_dest)
);
