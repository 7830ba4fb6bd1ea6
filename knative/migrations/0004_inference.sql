-- Functions that call models in people's names, and requests that are answered later.

-- serve's own user, whom only the setup Job makes.
ALTER TABLE users
    DROP CONSTRAINT users_role_check,
    ADD CONSTRAINT users_role_check CHECK (role IN ('admin', 'operator', 'user', 'service'));

-- Asynchronous inference. The bodies are in S3, under inference/<uuid>/. The queue is this table; events are hints.
CREATE TABLE inference_requests (
    uuid               TEXT PRIMARY KEY,
    -- Whose request and usage it is; the same key of the same person is the same request.
    subject            TEXT NOT NULL,
    key_id             TEXT,
    idempotency_key    TEXT NOT NULL,
    -- SHA-256 of what was asked: another body under the same key is a mistake.
    fingerprint        TEXT NOT NULL,
    server_uuid        TEXT NOT NULL,
    server_name        TEXT NOT NULL,
    model_name         TEXT NOT NULL,
    path               TEXT NOT NULL,
    status             TEXT NOT NULL DEFAULT 'queued'
                       CHECK (status IN ('queued', 'running', 'failed', 'cancelled', 'expired', 'completed')),
    -- NULL until its body is stored; it is not run before.
    accepted_at        TIMESTAMPTZ,
    created_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    started_at         TIMESTAMPTZ,
    finished_at        TIMESTAMPTZ,
    deadline_at        TIMESTAMPTZ NOT NULL,
    -- How often the model was asked; not before due_at again. told_at: its event is on the way and holds a place.
    attempts           INT NOT NULL DEFAULT 0,
    due_at             TIMESTAMPTZ NOT NULL DEFAULT now(),
    told_at            TIMESTAMPTZ,
    -- Who asks the model now, and until when that is believed without a sign of life.
    lease              TEXT,
    lease_until        TIMESTAMPTZ,
    -- What came of it.
    http_status        INT,
    error              TEXT,
    result_bytes       BIGINT,
    -- Whom to tell, and what to sign it with: the function has to sign, so a digest would not do.
    callback_url       TEXT,
    callback_secret    TEXT,
    callback_status    TEXT CHECK (callback_status IN ('pending', 'delivered', 'failed')),
    callback_attempts  INT NOT NULL DEFAULT 0,
    callback_error     TEXT,
    callback_told_at   TIMESTAMPTZ,
    UNIQUE (subject, idempotency_key)
);
-- The queue, and what runs.
CREATE INDEX inference_requests_open ON inference_requests (server_uuid, created_at, uuid)
    WHERE status IN ('queued', 'running');
-- Who has a place: those whose event is on the way, and those who are being asked.
CREATE INDEX inference_requests_placed ON inference_requests (server_uuid)
    WHERE status IN ('queued', 'running') AND (told_at IS NOT NULL OR lease_until IS NOT NULL);
-- How many somebody has open.
CREATE INDEX inference_requests_open_by_subject ON inference_requests (subject) WHERE status IN ('queued', 'running');
-- What may go, the oldest first.
CREATE INDEX inference_requests_ended ON inference_requests (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX inference_requests_untold ON inference_requests (callback_told_at) WHERE callback_status = 'pending';
