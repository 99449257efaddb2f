-- Webhooks and the messages for them. A message is written in the transaction that ends its job,
-- and outlives the job. A gateway of an older version writes none for the jobs that it ends.
-- The secrets are stored as they are, because every message is signed with them.

CREATE TABLE webhooks (
    id              TEXT    PRIMARY KEY,
    owner           TEXT    NOT NULL, -- name of API keys; empty for all jobs
    url             TEXT    NOT NULL,
    events          INTEGER NOT NULL, -- sum of 1 for job.completed, 2 for job.failed, 4 for job.cancelled
    secret          TEXT    NOT NULL,
    old_secret      TEXT    NOT NULL,
    old_until       INTEGER NOT NULL,
    listed          INTEGER NOT NULL, -- in WEBHOOKS_FILE
    slot            INTEGER NOT NULL, -- one of the few that each owner has; -1 if it is listed
    created_at      INTEGER NOT NULL,
    failing_since   INTEGER NOT NULL DEFAULT 0, -- first failed attempt after the last successful one
    disabled_at     INTEGER NOT NULL DEFAULT 0,
    disabled_reason TEXT    NOT NULL DEFAULT '',
    removed_at      INTEGER NOT NULL DEFAULT 0 -- the row goes after its deliveries
) STRICT;

CREATE UNIQUE INDEX webhooks_slot ON webhooks (owner, slot) WHERE slot >= 0 AND removed_at = 0;
CREATE INDEX webhooks_owner ON webhooks (owner, created_at, id) WHERE removed_at = 0;

CREATE TABLE deliveries (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT, -- order of creation
    webhook     TEXT    NOT NULL REFERENCES webhooks (id),
    message     TEXT    NOT NULL, -- the webhook-id header
    type        TEXT    NOT NULL,
    job         TEXT    NOT NULL,
    body        TEXT    NOT NULL,
    origin      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    epoch       INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    last_at     INTEGER NOT NULL DEFAULT 0,
    last_status INTEGER NOT NULL DEFAULT 0,
    last_error  TEXT    NOT NULL DEFAULT '',
    next_at     INTEGER NOT NULL, -- end of the lease during an attempt; 0 after the end
    ended_at    INTEGER NOT NULL DEFAULT 0,
    delivered   INTEGER NOT NULL DEFAULT 0,
    CHECK ((ended_at <> 0) = (next_at = 0))
) STRICT;

CREATE INDEX deliveries_log ON deliveries (webhook, seq);
CREATE INDEX deliveries_due ON deliveries (webhook, next_at, seq) WHERE next_at > 0;
CREATE INDEX deliveries_pending ON deliveries (created_at) WHERE next_at > 0;
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE next_at = 0;
