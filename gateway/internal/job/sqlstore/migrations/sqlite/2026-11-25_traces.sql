-- The trace context of the request that created a job, so that any gateway that ends one
-- of its images, also after a restart, can link the trace of the image to it.

ALTER TABLE jobs ADD COLUMN origin TEXT NOT NULL DEFAULT '';
