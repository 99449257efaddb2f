-- One-time downloads, each with the hash of its token. A row is deleted by its use, or after its
-- end. A gateway of an older version responds to none.

CREATE TABLE downloads (
    hash       TEXT    PRIMARY KEY,
    owner      TEXT    NOT NULL, -- name of API keys; empty without API keys
    slot       INTEGER NOT NULL, -- one of those that each owner has
    api_key    TEXT    NOT NULL, -- hash of the key
    job        TEXT    NOT NULL,
    what       TEXT    NOT NULL,
    image      INTEGER NOT NULL,
    include    TEXT    NOT NULL,
    paths      TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX downloads_slot ON downloads (owner, slot);
CREATE INDEX downloads_end ON downloads (expires_at);
