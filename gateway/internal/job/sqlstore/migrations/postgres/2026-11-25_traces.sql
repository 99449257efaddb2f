-- What the tracer remembers of the request that made a job, so that whichever gateway
-- ends one of its images, after a restart too, can link the trace of the image to it.

ALTER TABLE jobs ADD COLUMN origin text COLLATE "C" NOT NULL DEFAULT '';
