-- The name of the API key that made a job. It is empty for those made without keys,
-- which the indexes leave out, so that they cost nothing where there are no keys.

ALTER TABLE jobs ADD COLUMN owner text COLLATE "C" NOT NULL DEFAULT '';

CREATE INDEX jobs_owner ON jobs (owner, created_at, id) WHERE visible AND owner <> '';
CREATE INDEX jobs_owner_open ON jobs (owner) WHERE visible AND completed_at = 0 AND owner <> '';
