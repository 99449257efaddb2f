-- Jobs and their images. Times are microseconds since 1970 in UTC, 0 for no time.
-- Every frequent query uses one of the partial indexes below. They contain only
-- rows that are open, unsent, waiting for their fetch or their deletion, and so
-- stay small however many jobs are kept. Sorted texts are sorted by their bytes.

CREATE TABLE store (
    one   integer PRIMARY KEY CHECK (one = 1),
    id    text    NOT NULL,
    probe bytea   NOT NULL DEFAULT '' -- grows and shrinks again when a write is tried
);
-- The probe writes random data, but must not depend on that.
ALTER TABLE store ALTER COLUMN probe SET STORAGE EXTERNAL;

CREATE TABLE jobs (
    seq            bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- order of arrival
    id             text    COLLATE "C" NOT NULL UNIQUE,
    status         text    NOT NULL,
    visible        boolean NOT NULL, -- false while received, and once hidden by retention
    total          integer NOT NULL,
    completed      integer NOT NULL,
    failed         integer NOT NULL,
    revision       bigint  NOT NULL,
    created_at     bigint  NOT NULL,
    updated_at     bigint  NOT NULL,
    completed_at   bigint  NOT NULL,
    lease_owner    text    COLLATE "C" NOT NULL,
    lease_epoch    bigint  NOT NULL,
    lease_until    bigint  NOT NULL,
    work           integer NOT NULL, -- what the lease is for: 1 while received, then the images to fetch
    originals_gone boolean NOT NULL,
    retry_of          text NOT NULL,
    fingerprint       text NOT NULL, -- of the request, for one that came with a key
    idempotency_scope text NOT NULL,
    idempotency_key   text NOT NULL,
    CHECK (completed >= 0 AND failed >= 0 AND completed + failed <= total),
    CHECK ((completed_at <> 0) = (status IN ('completed', 'failed', 'cancelled'))),
    CHECK (work >= 0)
);

CREATE INDEX jobs_list ON jobs (created_at, id) WHERE visible;
CREATE INDEX jobs_open ON jobs (created_at) WHERE visible AND completed_at = 0;
CREATE INDEX jobs_work ON jobs (lease_owner, lease_until, seq) WHERE work > 0;
CREATE INDEX jobs_ended ON jobs (completed_at) WHERE visible AND completed_at > 0;
-- Only one of the jobs that are being received or visible can have a key; the key of
-- a hidden job is free again.
CREATE UNIQUE INDEX jobs_key ON jobs (idempotency_scope, idempotency_key)
    WHERE idempotency_key <> '' AND (visible OR completed_at = 0);
CREATE INDEX jobs_hidden ON jobs (originals_gone, completed_at) WHERE NOT visible AND completed_at > 0;

-- A lease ends at the later of jobs.lease_until and its owner's renewal, so that
-- a renewal writes one row however many jobs the owner holds.
CREATE TABLE owners (
    name          text   COLLATE "C" PRIMARY KEY,
    renewed_until bigint NOT NULL
);

CREATE TABLE images (
    job               bigint  NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    idx               integer NOT NULL,
    trace_id          text    NOT NULL,
    original_filename text    NOT NULL,
    key_name          text    NOT NULL,
    url               text    NOT NULL,
    status            text    NOT NULL,
    original_path     text    NOT NULL,
    content_type      text    NOT NULL,
    size              bigint  NOT NULL,
    sha256            text    NOT NULL,
    processed_path    text    NOT NULL,
    error             text    NOT NULL,
    error_code        text    NOT NULL,
    retryable         boolean NOT NULL,
    start_time        bigint  NOT NULL,
    end_time          bigint  NOT NULL,
    revision          bigint  NOT NULL,
    unsent            boolean NOT NULL,
    send              bigint  NOT NULL,
    relay             text    NOT NULL, -- who publishes it, while it is unsent
    relay_until       bigint  NOT NULL, -- from then on another may, by the database's clock
    PRIMARY KEY (job, idx),
    CHECK ((end_time <> 0) = (status IN ('completed', 'failed'))),
    CHECK (NOT unsent OR end_time = 0)
);

CREATE INDEX images_unsent ON images (job, idx) WHERE unsent;
CREATE INDEX images_open ON images (start_time) WHERE end_time = 0;

-- The counts over all jobs are the sums over these rows. A transaction adds to one of
-- them, and there are many, so that two transactions rarely wait for each other.
CREATE TABLE figures (
    shard       integer PRIMARY KEY,
    jobs        bigint NOT NULL DEFAULT 0,
    open_images bigint NOT NULL DEFAULT 0,
    unsent      bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

INSERT INTO figures (shard) SELECT generate_series(0, 63);
