-- What one statement does to many workloads is a few rows of the audit, and not a row, with an entry
-- in an index, for each of them. A workload has the numbers of what tells of it.

CREATE TABLE audit_batches (
    at            timestamptz NOT NULL DEFAULT now(),
    -- From the sequence of the events; all rows of one step of one statement have the same.
    seq           bigint NOT NULL,
    customer_id   text NOT NULL,
    workload_ids  uuid[] NOT NULL,
    -- In the order of the workloads; null where the step has none.
    worker_ids    text[],
    actor         text NOT NULL,
    event         text NOT NULL,
    before        text,
    after         text NOT NULL,
    generation    bigint NOT NULL,
    epoch         bigint
) PARTITION BY RANGE (at);

-- Random enough that nothing is won by compressing them.
ALTER TABLE audit_batches ALTER COLUMN workload_ids SET STORAGE EXTERNAL;

CREATE INDEX audit_batches_by_number ON audit_batches (seq);

CREATE TABLE audit_batches_default PARTITION OF audit_batches DEFAULT;

CREATE OR REPLACE FUNCTION make_audit_month(month timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz := date_trunc('month', month, 'UTC');
    parent text;
    name text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['audit_events', 'audit_batches'] LOOP
        name := parent || '_' || to_char(first AT TIME ZONE 'UTC', 'YYYYMM');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                name, parent, first, date_trunc('month', first + interval '32 days', 'UTC'));
        END IF;
    END LOOP;
END $$;

SELECT make_audit_month(now());

-- Each event of each workload, however it is stored.
CREATE VIEW audit AS
SELECT at, seq, customer_id, workload_id, worker_id, actor, event, before, after, generation, epoch,
       reason
FROM audit_events
UNION ALL
SELECT at, seq, customer_id, one.workload_id, one.worker_id, actor, event, before, after, generation,
       epoch, ''
FROM audit_batches, unnest(workload_ids, worker_ids) AS one (workload_id, worker_id);

ALTER TABLE workloads ADD COLUMN audit_batches bigint[] NOT NULL DEFAULT '{}';
