-- Dead letters that are sent again, and a log of what came too late to have an effect.

-- A redriven event leaves as it once came: with its own source and its exact bytes. NULL: the sender's source, and `data`.
ALTER TABLE outbox
    ADD COLUMN event_source  TEXT,
    ADD COLUMN body          BYTEA;

ALTER TABLE dead_letters
    ADD COLUMN content_type  TEXT NOT NULL DEFAULT 'application/json',
    -- When it was last put into the outbox; NULL again once it has come back.
    ADD COLUMN redriven_at   TIMESTAMPTZ,
    ADD COLUMN redriven_by   TEXT,
    ADD COLUMN redrives      INT NOT NULL DEFAULT 0;
-- The order of lists; a letter that comes back is the newest.
CREATE INDEX dead_letters_by_age ON dead_letters (received_at DESC, id DESC);
CREATE INDEX dead_letters_by_type ON dead_letters (type, received_at DESC, id DESC);
CREATE INDEX dead_letters_by_subject ON dead_letters (subject, received_at DESC, id DESC);
-- What a redrive of everything looks for, however many letters were redriven before.
CREATE INDEX dead_letters_waiting ON dead_letters (received_at DESC, id DESC) WHERE redriven_at IS NULL;

-- What the tables of states did not allow, written by the transaction that acknowledged it: the record is as it was.
-- Kept for 30 days.
CREATE TABLE event_log (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- late: old news, or of a record that has ended; illegal: nothing that can happen in this state.
    kind          TEXT NOT NULL CHECK (kind IN ('late', 'illegal')),
    record_kind   TEXT NOT NULL,
    record_uuid   TEXT NOT NULL,
    -- The state that the record stays in, and what would have moved it.
    state         TEXT NOT NULL,
    cause         TEXT NOT NULL,
    -- NULL where no event was the reason.
    event_source  TEXT,
    event_id      TEXT,
    detail        TEXT NOT NULL DEFAULT ''
);
CREATE INDEX event_log_by_record ON event_log (record_uuid, id DESC);
CREATE INDEX event_log_by_age ON event_log (at);

-- Events that an instance is working on, for handlers that ask others before they have anything to write: a duplicate
-- meanwhile is told to come again. until: a lease, so that an instance that was killed stops nobody.
CREATE TABLE inbox_claims (
    consumer  TEXT NOT NULL,
    source    TEXT NOT NULL,
    id        TEXT NOT NULL,
    until     TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (consumer, source, id)
);
