-- The header fields that a client has chosen for the URL of an image, as a JSON object. They
-- can contain secrets: a completed image has none, and they are deleted with the originals.
-- A gateway of an older version neither sends nor deletes them.

ALTER TABLE images ADD COLUMN headers text NOT NULL DEFAULT '';
