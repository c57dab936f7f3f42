-- Work of every kind, and what it yielded.

CREATE TABLE workloads (
    id                uuid PRIMARY KEY,
    customer_id       text NOT NULL DEFAULT 'default',
    type              text NOT NULL,
    pool              text NOT NULL,
    key_id            text NOT NULL DEFAULT '',
    key_version       text NOT NULL DEFAULT '',
    state             text NOT NULL DEFAULT 'PENDING' CHECK (state IN (
                          'PENDING', 'SCHEDULED', 'RUNNING', 'PAUSED', 'REDISTRIBUTING',
                          'COMPLETED', 'FAILED', 'CANCELLED')),
    priority          integer NOT NULL DEFAULT 10 CHECK (priority BETWEEN 0 AND 1000),
    -- Order of the queue, greatest first; fixed at submission, since all ages grow alike.
    rank              double precision NOT NULL,
    -- The witness; a secret, gone at the end.
    input             bytea,
    generation        bigint NOT NULL DEFAULT 0,
    worker_id         text,
    lease_expires_at  timestamptz,
    not_before        timestamptz NOT NULL DEFAULT now(),
    retry_count       integer NOT NULL DEFAULT 0,
    max_retries       integer NOT NULL,
    redistributions   integer NOT NULL DEFAULT 0,
    excluded_workers  text[] NOT NULL DEFAULT '{}',
    error             text,
    request_id        text NOT NULL DEFAULT '',
    traceparent       text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now(),
    scheduled_at      timestamptz,
    started_at        timestamptz,
    completed_at      timestamptz,
    CONSTRAINT held_by_a_worker CHECK (
        state NOT IN ('SCHEDULED', 'RUNNING')
        OR (worker_id IS NOT NULL AND lease_expires_at IS NOT NULL)),
    CONSTRAINT waiting_without_a_worker CHECK (
        state NOT IN ('PENDING', 'REDISTRIBUTING') OR worker_id IS NULL),
    CONSTRAINT secrets_end_with_the_work CHECK (
        state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED') OR input IS NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX workloads_waiting
    ON workloads (pool, type, key_id, key_version, rank DESC, id) INCLUDE (created_at)
    WHERE state IN ('PENDING', 'REDISTRIBUTING');
CREATE INDEX workloads_held
    ON workloads (worker_id) INCLUDE (pool, type, key_id, state)
    WHERE state IN ('SCHEDULED', 'RUNNING');

CREATE FUNCTION refuse_workload_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'workload %: % (generation %) to % (generation %) is not allowed',
        OLD.id, OLD.state, OLD.generation, NEW.state, NEW.generation
        USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER workload_transitions BEFORE UPDATE ON workloads FOR EACH ROW
    WHEN (NEW.generation < OLD.generation
          OR (OLD.state IS DISTINCT FROM NEW.state AND (OLD.state, NEW.state) NOT IN (
              ('PENDING', 'SCHEDULED'), ('PENDING', 'FAILED'), ('PENDING', 'CANCELLED'),
              ('SCHEDULED', 'RUNNING'), ('SCHEDULED', 'PENDING'), ('SCHEDULED', 'FAILED'),
              ('SCHEDULED', 'CANCELLED'),
              ('RUNNING', 'COMPLETED'), ('RUNNING', 'FAILED'), ('RUNNING', 'CANCELLED'),
              ('RUNNING', 'PAUSED'), ('RUNNING', 'PENDING'), ('RUNNING', 'REDISTRIBUTING'),
              ('PAUSED', 'PENDING'), ('PAUSED', 'CANCELLED'),
              ('REDISTRIBUTING', 'SCHEDULED'), ('REDISTRIBUTING', 'FAILED'),
              ('REDISTRIBUTING', 'CANCELLED'))))
    EXECUTE FUNCTION refuse_workload_change();

CREATE TABLE results (
    workload_id   uuid PRIMARY KEY REFERENCES workloads (id) ON DELETE CASCADE,
    worker_id     text NOT NULL,
    generation    bigint NOT NULL,
    proof         bytea NOT NULL,
    encoding      text NOT NULL,
    public        text[] NOT NULL,
    merkle_root   text NOT NULL DEFAULT '',
    key_version   text NOT NULL,
    verified      boolean NOT NULL,
    duration_ms   bigint NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX results_of_a_worker ON results (worker_id) INCLUDE (duration_ms);
