-- One-time downloads, each with the hash of its token. A row is deleted by its use, or after its
-- end. A gateway of an older version responds to none.

CREATE TABLE downloads (
    hash       text    COLLATE "C" PRIMARY KEY,
    owner      text    COLLATE "C" NOT NULL, -- name of API keys; empty without API keys
    slot       integer NOT NULL, -- one of those that each owner has
    api_key    text    NOT NULL, -- hash of the key
    job        text    NOT NULL,
    what       text    NOT NULL,
    image      integer NOT NULL,
    include    text    NOT NULL,
    paths      text    NOT NULL,
    expires_at bigint  NOT NULL
);

CREATE UNIQUE INDEX downloads_slot ON downloads (owner, slot);
CREATE INDEX downloads_end ON downloads (expires_at);
