-- What a rollout is judged by, how long engines took to start, and evaluations.

-- The revision that answered, NULL where an engine of an older release reports. first_token_ms: NULL for an answer that
-- is no stream, or whose first token never came. Answers of class 5xx are rows too, with the tokens that were counted.
ALTER TABLE usage
    ADD COLUMN revision        TEXT,
    ADD COLUMN first_token_ms  INT;
CREATE INDEX usage_by_revision ON usage (revision, started_at DESC) WHERE revision IS NOT NULL;

-- One start of one engine. Milliseconds since its process began until each step was done; NULL for a step that it has not.
CREATE TABLE cold_starts (
    event_id     TEXT PRIMARY KEY,
    server_name  TEXT NOT NULL,
    revision     TEXT NOT NULL,
    began_at     TIMESTAMPTZ NOT NULL,
    fetched_ms   INT,
    loaded_ms    INT,
    ready_ms     INT NOT NULL
);
CREATE INDEX cold_starts_by_server ON cold_starts (server_name, began_at DESC);
CREATE INDEX cold_starts_by_revision ON cold_starts (revision, began_at DESC);
CREATE INDEX cold_starts_by_age ON cold_starts (began_at);

-- When the cluster says that it began to bring up a revision which had no replica: the start of what a caller waits for.
CREATE TABLE wakes (
    revision  TEXT NOT NULL,
    woken_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (revision, woken_at)
);
CREATE INDEX wakes_by_age ON wakes (woken_at);

-- Which of several models answers a set of prompts best, to be served under one name (functions/serve/evaluation/states.py).
CREATE TABLE evaluations (
    uuid          TEXT PRIMARY KEY,
    -- The order in which they were asked for: a later one's winner stays.
    number        BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
    namespace     TEXT NOT NULL,
    alias         TEXT NOT NULL,
    -- Of alias and content.
    fingerprint   TEXT NOT NULL,
    status        TEXT NOT NULL DEFAULT 'waiting',
    -- What moved it last, in words for people; while it waits, what for.
    why           TEXT NOT NULL DEFAULT '',
    prompts       INT NOT NULL,
    min_score     DOUBLE PRECISION NOT NULL,
    -- NULL: as the alias is served.
    options       JSONB,
    rollout       JSONB NOT NULL DEFAULT '{}',
    -- The models that whoever asked may use.
    models        TEXT[] NOT NULL,
    actor         TEXT NOT NULL DEFAULT '',
    deadline_at   TIMESTAMPTZ NOT NULL,
    -- Known once it is decided: the position of a candidate.
    winner        INT,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at   TIMESTAMPTZ
);
CREATE UNIQUE INDEX evaluations_by_content ON evaluations (namespace, fingerprint)
    WHERE status NOT IN ('failed', 'superseded', 'cancelled');
CREATE INDEX evaluations_under_way ON evaluations (namespace, number) WHERE finished_at IS NULL;
CREATE INDEX evaluations_by_age ON evaluations (created_at DESC, uuid DESC);

CREATE TABLE evaluation_candidates (
    evaluation_uuid  TEXT NOT NULL REFERENCES evaluations (uuid) ON DELETE CASCADE,
    position         INT NOT NULL,
    -- In the name of its temporary server.
    number           BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
    asked_as         TEXT NOT NULL,
    model_uuid       TEXT,
    model_name       TEXT,
    status           TEXT NOT NULL DEFAULT 'waiting',
    why              TEXT NOT NULL DEFAULT '',
    server_uuid      TEXT,
    server_name      TEXT,
    -- One entry for each prompt that was asked, in order: passed, reason, the beginning of the answer, milliseconds.
    results          JSONB NOT NULL DEFAULT '[]',
    score            DOUBLE PRECISION,
    latency_ms       INT,
    deployed_at      TIMESTAMPTZ,
    PRIMARY KEY (evaluation_uuid, position)
);
CREATE INDEX evaluation_candidates_by_server ON evaluation_candidates (server_uuid) WHERE status = 'deploying';

-- What S3 has at promotions/<alias>.json.
CREATE TABLE promotions (
    namespace        TEXT NOT NULL,
    alias            TEXT NOT NULL,
    number           BIGINT NOT NULL,
    evaluation_uuid  TEXT NOT NULL,
    model_uuid       TEXT NOT NULL,
    model_name       TEXT NOT NULL,
    score            DOUBLE PRECISION NOT NULL,
    selected_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace, alias)
);
