-- Retries, and requests that a client may send again. The index is unique: of all
-- jobs that are received or in answers one has the key. A hidden one keeps its
-- columns and is out of the index, so the key is free again.

ALTER TABLE jobs ADD COLUMN retry_of          TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN idempotency_scope TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN idempotency_key   TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN fingerprint       TEXT NOT NULL DEFAULT '';

CREATE UNIQUE INDEX jobs_key ON jobs (idempotency_scope, idempotency_key)
    WHERE idempotency_key <> '' AND (visible = 1 OR completed_at = 0);
