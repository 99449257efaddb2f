-- Whether a vision model may see an image, and whether a completed image lacks the caption that it
-- should have; see job.Captions. A job counts the images that lack one, for the filter of the list. A
-- gateway of an older version writes neither.

ALTER TABLE images ADD COLUMN captions TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN uncaptioned INTEGER NOT NULL DEFAULT 0;

CREATE INDEX jobs_uncaptioned ON jobs ((CASE WHEN visible = 1 AND uncaptioned > 0 THEN 1 END), created_at, id)
    WHERE (CASE WHEN visible = 1 AND uncaptioned > 0 THEN 1 END) IS NOT NULL;
