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
