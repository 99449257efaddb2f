-- The upload in the metadata of a job, which joins the jobs of one upload, for the filter of the
-- list. It is empty for jobs that were created before, or by a gateway of an older version.

ALTER TABLE jobs ADD COLUMN upload TEXT NOT NULL DEFAULT '';

CREATE INDEX jobs_uploads ON jobs ((CASE WHEN visible = 1 AND upload <> '' THEN upload END), created_at, id)
    WHERE (CASE WHEN visible = 1 AND upload <> '' THEN upload END) IS NOT NULL;
