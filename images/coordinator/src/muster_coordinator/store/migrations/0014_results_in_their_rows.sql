-- What work yields that is no proof is kept in its own row, which is written anew at its end anyway;
-- proofs are kept apart. What workers have done is added up from rows of many results each.

ALTER TABLE results RENAME TO results_apart;

ALTER TABLE workloads
    ADD COLUMN output       bytea,
    -- What its worker took; null where it has not ended with a result, or that is kept apart.
    ADD COLUMN duration_ms  bigint;

CREATE TABLE worker_tallies (
    worker_id    text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    tasks        bigint NOT NULL,
    duration_ms  bigint NOT NULL
);

CREATE INDEX worker_tallies_of_a_worker ON worker_tallies (worker_id)
    INCLUDE (tasks, duration_ms);

-- All results, wherever they are.
CREATE VIEW results AS
SELECT workload_id, worker_id, generation, proof, encoding, public, merkle_root, key_version,
       verified, duration_ms, created_at, output
FROM results_apart
UNION ALL
SELECT id, worker_id, generation, NULL, NULL, NULL, '', NULL, NULL, duration_ms, completed_at, output
FROM workloads WHERE duration_ms IS NOT NULL;

-- The version before writes to what is a view now.
CREATE FUNCTION keep_result_apart() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO results_apart (workload_id, worker_id, generation, proof, encoding, public,
                                   merkle_root, key_version, verified, duration_ms, output)
        VALUES (NEW.workload_id, NEW.worker_id, NEW.generation, NEW.proof, NEW.encoding, NEW.public,
                coalesce(NEW.merkle_root, ''), NEW.key_version, NEW.verified, NEW.duration_ms,
                NEW.output);
        RETURN NEW;
    END IF;
    DELETE FROM results_apart WHERE workload_id = OLD.workload_id;
    -- What is in its row goes with its row, and is counted in a tally.
    RETURN CASE WHEN FOUND THEN OLD END;
END $$;

CREATE TRIGGER results_kept_apart INSTEAD OF INSERT OR DELETE ON results FOR EACH ROW
    EXECUTE FUNCTION keep_result_apart();

-- Ids begin with their time, so that what is old is found by them.
CREATE FUNCTION first_workload_id(at timestamptz) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || repeat('0', 20))::uuid
$$;

-- The version before finds it without, though it has to look longer.
DROP INDEX workloads_ended;
