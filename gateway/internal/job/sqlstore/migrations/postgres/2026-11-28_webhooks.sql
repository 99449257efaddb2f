-- Webhooks and the messages for them. A message is written in the transaction that ends its job,
-- and outlives the job. A gateway of an older version writes none for the jobs that it ends.
-- The secrets are stored as they are, because every message is signed with them.

CREATE TABLE webhooks (
    id              text    COLLATE "C" PRIMARY KEY,
    owner           text    COLLATE "C" NOT NULL, -- name of API keys; empty for all jobs
    url             text    NOT NULL,
    events          integer NOT NULL, -- sum of 1 for job.completed, 2 for job.failed, 4 for job.cancelled
    secret          text    NOT NULL,
    old_secret      text    NOT NULL,
    old_until       bigint  NOT NULL,
    listed          boolean NOT NULL, -- in WEBHOOKS_FILE
    slot            integer NOT NULL, -- one of the few that each owner has; -1 if it is listed
    created_at      bigint  NOT NULL,
    failing_since   bigint  NOT NULL DEFAULT 0, -- first failed attempt after the last successful one
    disabled_at     bigint  NOT NULL DEFAULT 0,
    disabled_reason text    NOT NULL DEFAULT '',
    removed_at      bigint  NOT NULL DEFAULT 0 -- the row goes after its deliveries
);

CREATE UNIQUE INDEX webhooks_slot ON webhooks (owner, slot) WHERE slot >= 0 AND removed_at = 0;
CREATE INDEX webhooks_owner ON webhooks (owner, created_at, id) WHERE removed_at = 0;

CREATE TABLE deliveries (
    seq         bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- order of creation
    webhook     text    COLLATE "C" NOT NULL REFERENCES webhooks (id),
    message     text    NOT NULL, -- the webhook-id header
    type        text    NOT NULL,
    job         text    NOT NULL,
    body        text    NOT NULL,
    origin      text    NOT NULL,
    created_at  bigint  NOT NULL,
    epoch       bigint  NOT NULL DEFAULT 0,
    attempts    integer NOT NULL DEFAULT 0,
    last_at     bigint  NOT NULL DEFAULT 0,
    last_status integer NOT NULL DEFAULT 0,
    last_error  text    NOT NULL DEFAULT '',
    next_at     bigint  NOT NULL, -- end of the lease during an attempt; 0 after the end
    ended_at    bigint  NOT NULL DEFAULT 0,
    delivered   boolean NOT NULL DEFAULT false,
    CHECK ((ended_at <> 0) = (next_at = 0))
);

CREATE INDEX deliveries_log ON deliveries (webhook, seq);
CREATE INDEX deliveries_due ON deliveries (webhook, next_at, seq) WHERE next_at > 0;
CREATE INDEX deliveries_pending ON deliveries (created_at) WHERE next_at > 0;
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE next_at = 0;
