-- What happened, by month; the leader makes the partitions ahead and drops the old ones.

CREATE SEQUENCE audit_events_seq;

CREATE TABLE audit_events (
    at           timestamptz NOT NULL DEFAULT now(),
    seq          bigint NOT NULL DEFAULT nextval('audit_events_seq'),
    customer_id  text,
    workload_id  uuid,
    worker_id    text,
    actor        text NOT NULL,
    event        text NOT NULL,
    before       text,
    after        text,
    generation   bigint,
    epoch        bigint,
    reason       text NOT NULL DEFAULT ''
) PARTITION BY RANGE (at);

CREATE INDEX audit_events_of_a_workload ON audit_events (workload_id);

-- Takes what no month has been made for, so that no transition ever fails for its audit.
CREATE TABLE audit_events_default PARTITION OF audit_events DEFAULT;

CREATE FUNCTION make_audit_month(month timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz := date_trunc('month', month, 'UTC');
    name text := 'audit_events_' || to_char(first AT TIME ZONE 'UTC', 'YYYYMM');
BEGIN
    IF to_regclass(name) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF audit_events FOR VALUES FROM (%L) TO (%L)',
            name, first, date_trunc('month', first + interval '32 days', 'UTC'));
    END IF;
END $$;

SELECT make_audit_month(now());
