-- What a client keeps with a job and its images for itself: its metadata, as a JSON object, and a
-- name for each image. The warnings, a JSON array, are those of the response to the request. All
-- are empty without any. A gateway of an older version neither writes nor returns them.

ALTER TABLE jobs ADD COLUMN metadata TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN warnings TEXT NOT NULL DEFAULT '';
ALTER TABLE images ADD COLUMN custom_id TEXT NOT NULL DEFAULT '';
