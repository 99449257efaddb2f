-- Filters of the list. Each of these indexes contains only the jobs that pass a filter, in the
-- order of the list, so that a page costs as much as its jobs, however many jobs are kept.

CREATE INDEX jobs_status ON jobs (status, created_at, id) WHERE visible;
CREATE INDEX jobs_failed ON jobs (status, created_at, id) WHERE visible AND failed > 0;
CREATE INDEX jobs_owner_status ON jobs (owner, status, created_at, id) WHERE visible AND owner <> '';
CREATE INDEX jobs_owner_failed ON jobs (owner, status, created_at, id) WHERE visible AND owner <> '' AND failed > 0;
CREATE INDEX jobs_retries ON jobs (retry_of, created_at, id) WHERE visible AND retry_of <> '';
