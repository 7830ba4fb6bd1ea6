-- Where the laptop runtime keeps its Kubernetes objects, so that they survive `kill -9` (used by storage.py).

-- name: create
-- The one table. Made at every start; does nothing when it is there.
CREATE SCHEMA IF NOT EXISTS cluster;
CREATE TABLE IF NOT EXISTS cluster.objects (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    resource_version BIGINT NOT NULL,
    object JSONB NOT NULL,
    PRIMARY KEY (kind, namespace, name)
);

-- name: load
-- Everything, oldest change first; read once, at start.
SELECT object::text FROM cluster.objects ORDER BY resource_version;

-- name: save
-- One object as it is now.
INSERT INTO cluster.objects (kind, namespace, name, resource_version, object)
VALUES ($1, $2, $3, $4, $5::jsonb)
ON CONFLICT (kind, namespace, name) DO UPDATE
SET resource_version = excluded.resource_version, object = excluded.object;

-- name: remove
-- One object is gone.
DELETE FROM cluster.objects WHERE kind = $1 AND namespace = $2 AND name = $3;
