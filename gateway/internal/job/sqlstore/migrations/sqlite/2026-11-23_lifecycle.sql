-- Retries, and requests that a client may send again. The index is unique: only one of
-- the jobs that are being received or visible can have a key. A hidden job keeps its
-- columns and is not in the index, so its key is free again.

ALTER TABLE jobs ADD COLUMN retry_of          TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN idempotency_scope TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN idempotency_key   TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN fingerprint       TEXT NOT NULL DEFAULT '';

CREATE UNIQUE INDEX jobs_key ON jobs (idempotency_scope, idempotency_key)
    WHERE idempotency_key <> '' AND (visible = 1 OR completed_at = 0);
