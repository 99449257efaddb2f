-- Filters of the list. Each of these indexes contains only the jobs that pass a filter, in the
-- order of the list, so that a page costs as much as its jobs, however many jobs are kept.
-- Each has an expression of its own, for the sake of PostgreSQL's planner: see list.go.

CREATE INDEX jobs_owned ON jobs ((CASE WHEN visible = 1 AND owner <> '' THEN owner END), created_at, id)
    WHERE (CASE WHEN visible = 1 AND owner <> '' THEN owner END) IS NOT NULL;
CREATE INDEX jobs_retries ON jobs ((CASE WHEN visible = 1 AND retry_of <> '' THEN retry_of END), created_at, id)
    WHERE (CASE WHEN visible = 1 AND retry_of <> '' THEN retry_of END) IS NOT NULL;
CREATE INDEX jobs_status ON jobs ((CASE WHEN visible = 1 THEN status END), created_at, id)
    WHERE (CASE WHEN visible = 1 THEN status END) IS NOT NULL;
CREATE INDEX jobs_failed ON jobs ((CASE WHEN visible = 1 AND failed > 0 THEN status END), created_at, id)
    WHERE (CASE WHEN visible = 1 AND failed > 0 THEN status END) IS NOT NULL;
CREATE INDEX jobs_owned_status ON jobs ((CASE WHEN visible = 1 THEN nullif(owner, '') END), status, created_at, id)
    WHERE (CASE WHEN visible = 1 THEN nullif(owner, '') END) IS NOT NULL;
CREATE INDEX jobs_owned_failed ON jobs ((CASE WHEN visible = 1 AND failed > 0 AND owner <> '' THEN owner END), status, created_at, id)
    WHERE (CASE WHEN visible = 1 AND failed > 0 AND owner <> '' THEN owner END) IS NOT NULL;
