-- What the search for similar images knows about a completed image: its perceptual hash, and its
-- size in pixels. An image without a hash is not compared: it is blank, or it was completed by a
-- gateway or a processor of an older version.

ALTER TABLE images ADD COLUMN phash  TEXT    NOT NULL DEFAULT '';
ALTER TABLE images ADD COLUMN width  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE images ADD COLUMN height INTEGER NOT NULL DEFAULT 0;
