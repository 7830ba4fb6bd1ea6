-- Several workers at one large file: each leases runs of its parts.

CREATE TABLE stretch_leases (
    model_uuid   VARCHAR(255) NOT NULL,
    path         TEXT NOT NULL,
    -- Of one upload: a file that begins anew has another, and nobody's leases.
    upload_id    TEXT NOT NULL,
    number       INT NOT NULL,
    holder       TEXT NOT NULL,
    lease_until  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (model_uuid, path, upload_id, number),
    FOREIGN KEY (model_uuid, path) REFERENCES model_files (model_uuid, path) ON DELETE CASCADE
);
CREATE INDEX stretch_leases_by_holder ON stretch_leases (holder);
