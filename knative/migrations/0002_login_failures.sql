-- Wrong passwords in a row, by the SHA-256 of the name that was typed, whether a user has it or not: a lock on real
-- names alone would tell which names are real. Rows an hour old are forgotten. users.failed_logins and
-- users.locked_until of 0001 stay unused.
CREATE TABLE login_failures (
    name_sha256   BYTEA PRIMARY KEY,
    failures      INT NOT NULL,
    locked_until  TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX login_failures_by_age ON login_failures (updated_at);
