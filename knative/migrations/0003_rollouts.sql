-- Rollouts: one new revision of a server on its way to all of the traffic (functions/serve/rollout/states.py).
-- server_records says what serves; what is on trial stands here until it is promoted.

CREATE TABLE rollouts (
    uuid                 TEXT PRIMARY KEY,
    server_uuid          TEXT NOT NULL,
    server_name          TEXT NOT NULL,
    namespace            TEXT NOT NULL,
    status               TEXT NOT NULL DEFAULT 'candidate',
    -- What moved it last, and the same in words for people; while it waits, what for.
    cause                TEXT NOT NULL DEFAULT '',
    why                  TEXT NOT NULL DEFAULT '',
    strategy             TEXT NOT NULL,
    -- RolloutOptions: steps, hold, gates, prompt.
    options              JSONB NOT NULL DEFAULT '{}',
    -- On trial: the model and how it is served, with what the contract made of it.
    model_uuid           TEXT NOT NULL,
    model_name           TEXT NOT NULL,
    request              JSONB NOT NULL DEFAULT '{}',
    runtime_params       JSONB,
    memory_max_mb        INT NOT NULL DEFAULT 0,
    contract             JSONB,
    -- What served when it began.
    previous_model_uuid  TEXT NOT NULL,
    previous_model_name  TEXT NOT NULL,
    stable_revision      TEXT NOT NULL,
    -- Known once the cluster has made it.
    candidate_revision   TEXT,
    -- Which of the steps it is at, counted from 0, and its part of the traffic.
    step                 INT NOT NULL DEFAULT 0,
    percent              INT NOT NULL DEFAULT 0,
    step_started_at      TIMESTAMPTZ,
    -- When usage of its server last led to a look at the gates, and what they last said.
    measured_at          TIMESTAMPTZ,
    measures             JSONB,
    actor                TEXT NOT NULL DEFAULT '',
    created_at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    finished_at          TIMESTAMPTZ,
    error                TEXT
);
-- One at a time.
CREATE UNIQUE INDEX rollouts_under_way ON rollouts (server_uuid) WHERE finished_at IS NULL;
CREATE INDEX rollouts_under_way_by_name ON rollouts (namespace, server_name) WHERE finished_at IS NULL;
CREATE INDEX rollouts_by_server ON rollouts (server_uuid, created_at DESC);
CREATE INDEX rollouts_under_way_by_model ON rollouts (model_uuid) WHERE finished_at IS NULL;

-- Keeps all traffic while the template's own revision is not ready: after a rollback, until what served is latest again.
ALTER TABLE server_records ADD COLUMN pinned_revision TEXT;
