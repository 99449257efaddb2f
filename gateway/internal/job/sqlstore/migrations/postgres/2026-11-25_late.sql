-- When retention deleted the originals of a hidden job: its row stays until nobody
-- can still be storing something for it. 0 before this version, which is long ago.

ALTER TABLE jobs ADD COLUMN originals_gone_at bigint NOT NULL DEFAULT 0;
