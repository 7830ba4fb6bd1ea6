-- What a rollout is judged by, how long engines took to start, and evaluations.

-- The revision that answered, NULL where an engine of an older release reports. first_token_ms: NULL for an answer that
-- is no stream, or whose first token never came. Answers of class 5xx are rows too, with the tokens that were counted.
ALTER TABLE usage
    ADD COLUMN revision        TEXT,
    ADD COLUMN first_token_ms  INT;
CREATE INDEX usage_by_revision ON usage (revision, started_at DESC) WHERE revision IS NOT NULL;
