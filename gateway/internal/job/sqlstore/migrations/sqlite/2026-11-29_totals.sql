-- The number of visible jobs of each owner, '' for the jobs created without API keys, so that neither the
-- total of a list nor the start of the gateway counts the jobs. Triggers update it, so that the jobs of a
-- gateway of an older version count as well.

CREATE TABLE totals (
    owner TEXT    PRIMARY KEY,
    jobs  INTEGER NOT NULL
) STRICT;

CREATE TRIGGER totals_inserted AFTER INSERT ON jobs WHEN NEW.visible = 1 BEGIN
    INSERT INTO totals (owner, jobs) VALUES (NEW.owner, 1) ON CONFLICT (owner) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER totals_updated AFTER UPDATE OF visible ON jobs WHEN NEW.visible <> OLD.visible BEGIN
    INSERT INTO totals (owner, jobs) VALUES (NEW.owner, NEW.visible - OLD.visible)
        ON CONFLICT (owner) DO UPDATE SET jobs = jobs + excluded.jobs;
END;
CREATE TRIGGER totals_deleted AFTER DELETE ON jobs WHEN OLD.visible = 1 BEGIN
    UPDATE totals SET jobs = jobs - 1 WHERE owner = OLD.owner;
END;

INSERT INTO totals (owner, jobs) SELECT owner, count(*) FROM jobs WHERE visible = 1 GROUP BY owner;
