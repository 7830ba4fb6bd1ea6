-- Who keeps a blob: every file of a model that is on its way or available, and what a failed model has verified, which a
-- retry would find again.
CREATE VIEW referring_files AS
SELECT f.model_uuid, f.path, f.sha256, f.size_bytes
FROM model_files f JOIN model_records m ON m.uuid = f.model_uuid
WHERE m.status IN ('downloading', 'available') OR (m.status = 'failed' AND f.status = 'verified');
