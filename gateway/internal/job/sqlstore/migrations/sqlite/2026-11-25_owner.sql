-- The name of the API key that created a job. It is empty for jobs created without keys.
-- The indexes leave these out, so that they cost nothing if there are no keys.

ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';

CREATE INDEX jobs_owner ON jobs (owner, created_at, id) WHERE visible = 1 AND owner <> '';
CREATE INDEX jobs_owner_open ON jobs (owner) WHERE visible = 1 AND completed_at = 0 AND owner <> '';
