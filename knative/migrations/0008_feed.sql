-- News that people follow (GET /events of status), and a quick look at what is moving.

-- What has happened, in the order of its commits: whoever writes takes a lock for the rest of its transaction, so that
-- nobody who reads on from an id misses a smaller one that is committed later. Kept for a week.
CREATE TABLE feed (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    type        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    -- NULL where it is about no model.
    model_uuid  TEXT,
    model_name  TEXT,
    -- Who may see it beside operators; NULL: everybody who may see the model.
    asker       TEXT,
    data        JSONB NOT NULL
);
CREATE INDEX feed_by_age ON feed (at);

-- The few files that are under way, of many that are not. Progress changes neither column, so it stays cheap to write.
CREATE INDEX model_files_moving ON model_files (model_uuid) WHERE status = 'transferring';
