-- Whether the words of a model that are in the original of an image are removed; see job.Image. Such an
-- image also has captions 'off', which is all that a gateway of an older version knows of it.

ALTER TABLE images ADD COLUMN remove_captions boolean NOT NULL DEFAULT false;
