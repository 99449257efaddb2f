-- Jobs and their images. Times are microseconds since 1970 in UTC, 0 for no time.
-- Every frequent query uses one of the partial indexes below. They contain only
-- rows that are open, unsent, waiting for their fetch or their deletion, and so
-- stay small however many jobs are kept.

CREATE TABLE store (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    id    TEXT    NOT NULL,
    probe BLOB    NOT NULL DEFAULT x'' -- grows and shrinks again when a write is tried
) STRICT;

CREATE TABLE jobs (
    seq            INTEGER PRIMARY KEY, -- order of arrival
    id             TEXT    NOT NULL UNIQUE,
    status         TEXT    NOT NULL,
    visible        INTEGER NOT NULL CHECK (visible IN (0, 1)), -- 0 while received, and once hidden by retention
    total          INTEGER NOT NULL,
    completed      INTEGER NOT NULL,
    failed         INTEGER NOT NULL,
    revision       INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    completed_at   INTEGER NOT NULL,
    lease_owner    TEXT    NOT NULL,
    lease_epoch    INTEGER NOT NULL,
    lease_until    INTEGER NOT NULL,
    work           INTEGER NOT NULL, -- what the lease is for: 1 while received, then the images to fetch
    originals_gone INTEGER NOT NULL CHECK (originals_gone IN (0, 1)),
    CHECK (completed >= 0 AND failed >= 0 AND completed + failed <= total),
    CHECK ((completed_at <> 0) = (status IN ('completed', 'failed', 'cancelled'))),
    CHECK (work >= 0)
) STRICT;

CREATE INDEX jobs_list ON jobs (created_at, id) WHERE visible = 1;
CREATE INDEX jobs_open ON jobs (created_at) WHERE visible = 1 AND completed_at = 0;
CREATE INDEX jobs_work ON jobs (lease_owner, lease_until, seq) WHERE work > 0;
CREATE INDEX jobs_ended ON jobs (completed_at) WHERE visible = 1 AND completed_at > 0;
CREATE INDEX jobs_hidden ON jobs (originals_gone, completed_at) WHERE visible = 0 AND completed_at > 0;

-- A lease ends at the later of jobs.lease_until and its owner's renewal, so that
-- a renewal writes one row however many jobs the owner holds.
CREATE TABLE owners (
    name          TEXT    PRIMARY KEY,
    renewed_until INTEGER NOT NULL
) STRICT;

CREATE TABLE images (
    job               INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    idx               INTEGER NOT NULL,
    trace_id          TEXT    NOT NULL,
    original_filename TEXT    NOT NULL,
    key_name          TEXT    NOT NULL,
    url               TEXT    NOT NULL,
    status            TEXT    NOT NULL,
    original_path     TEXT    NOT NULL,
    content_type      TEXT    NOT NULL,
    size              INTEGER NOT NULL,
    sha256            TEXT    NOT NULL,
    processed_path    TEXT    NOT NULL,
    error             TEXT    NOT NULL,
    error_code        TEXT    NOT NULL,
    retryable         INTEGER NOT NULL CHECK (retryable IN (0, 1)),
    start_time        INTEGER NOT NULL,
    end_time          INTEGER NOT NULL,
    revision          INTEGER NOT NULL,
    unsent            INTEGER NOT NULL CHECK (unsent IN (0, 1)),
    send              INTEGER NOT NULL,
    PRIMARY KEY (job, idx),
    CHECK ((end_time <> 0) = (status IN ('completed', 'failed'))),
    CHECK (unsent = 0 OR end_time = 0)
) STRICT;

CREATE INDEX images_unsent ON images (job, idx) WHERE unsent = 1;
CREATE INDEX images_open ON images (start_time) WHERE end_time = 0;
