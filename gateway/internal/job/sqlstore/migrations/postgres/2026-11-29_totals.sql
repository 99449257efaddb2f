-- The number of visible jobs of each owner, so that the total of a list is not counted. It is the sum over
-- rows like those of figures, which are summed over all owners. Triggers update it, so that the jobs of a
-- gateway of an older version count as well. The indexes and keys of a list have no owner ''.

CREATE TABLE totals (
    owner text    COLLATE "C" NOT NULL,
    shard integer NOT NULL,
    jobs  bigint  NOT NULL,
    PRIMARY KEY (owner, shard)
) WITH (fillfactor = 50);

CREATE FUNCTION add_to_totals() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    change integer := CASE WHEN TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND NOT NEW.visible THEN -1 ELSE 1 END;
    who    text    := CASE WHEN TG_OP = 'DELETE' THEN OLD.owner ELSE NEW.owner END;
BEGIN
    IF who <> '' THEN
        INSERT INTO totals VALUES (who, pg_backend_pid() % 64, change)
            ON CONFLICT (owner, shard) DO UPDATE SET jobs = totals.jobs + change;
    END IF;
    RETURN NULL;
END
$$;

-- Creating the triggers locks the table against writes until the end of the migration, so the count is exact.
CREATE TRIGGER totals_inserted AFTER INSERT ON jobs FOR EACH ROW WHEN (NEW.visible) EXECUTE FUNCTION add_to_totals();
CREATE TRIGGER totals_updated AFTER UPDATE OF visible ON jobs FOR EACH ROW WHEN (NEW.visible <> OLD.visible) EXECUTE FUNCTION add_to_totals();
CREATE TRIGGER totals_deleted AFTER DELETE ON jobs FOR EACH ROW WHEN (OLD.visible) EXECUTE FUNCTION add_to_totals();

INSERT INTO totals SELECT owner, 0, count(*) FROM jobs WHERE visible AND owner <> '' GROUP BY owner;
