-- When retention deleted the originals of a hidden job: its row stays as long as a
-- process may still store an object for it. 0 before this version, which is long ago.

ALTER TABLE jobs ADD COLUMN originals_gone_at bigint NOT NULL DEFAULT 0;
