-- What serve has made of the ModelServe resources of its namespace (docs/modelserve.md). The resources are the wish; here
-- stands what was done about each, so that it is done once, and undone when the resource is gone.

CREATE TABLE modelserves (
    namespace     TEXT NOT NULL,
    name          TEXT NOT NULL,
    -- Of the resource: a later one of the same name is another.
    uid           TEXT NOT NULL,
    -- The newest spec that was looked at: an older one that comes late changes nothing.
    generation    BIGINT NOT NULL,
    -- In whose name: of the token whose digest it is, or the configured one, where the resource carried none.
    token_digest  TEXT NOT NULL DEFAULT '',
    actor         TEXT NOT NULL DEFAULT '',
    models        JSONB NOT NULL DEFAULT '["*"]',
    -- What was asked for last: the spec, the model that it meant, and the server that this became.
    asked         BIGINT NOT NULL DEFAULT 0,
    model_uuid    TEXT,
    server_uuid   TEXT,
    -- Its model is not available: looked at again when one becomes it.
    waiting       BOOLEAN NOT NULL DEFAULT false,
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace, name)
);
CREATE INDEX modelserves_by_server ON modelserves (server_uuid);
