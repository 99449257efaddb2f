-- The jobs of one owner that lack captions, for the filter of the list and for counting them; see
-- list.go.

CREATE INDEX jobs_owned_uncaptioned ON jobs ((CASE WHEN visible = 1 AND uncaptioned > 0 THEN nullif(owner, '') END), created_at, id)
    WHERE (CASE WHEN visible = 1 AND uncaptioned > 0 THEN nullif(owner, '') END) IS NOT NULL;
