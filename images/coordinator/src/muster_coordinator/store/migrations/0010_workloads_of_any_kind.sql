-- Work that is no proof: progress, checkpoints, logs, pauses, limits of its own, affinities.

ALTER TABLE workloads
    ADD COLUMN progress_percent  real NOT NULL DEFAULT 0,
    ADD COLUMN progress_message  text NOT NULL DEFAULT '',
    -- How long a worker may work on it; null for the general limit.
    ADD COLUMN timeout_seconds   double precision,
    ADD COLUMN affinity          jsonb,
    -- Whether it has hard or anti affinities: such work is looked for apart.
    ADD COLUMN particular        boolean NOT NULL DEFAULT false,
    ADD COLUMN config_id         uuid,
    -- What its owner asks of its worker.
    ADD COLUMN wish              text NOT NULL DEFAULT '' CHECK (wish IN ('', 'pause')),
    -- Inputs of proofs are witnesses, and leave the row at its end; those of other work may stay.
    ADD COLUMN keeps_input       boolean NOT NULL DEFAULT false,
    -- Numbers of the newest checkpoint and the newest line of its log.
    ADD COLUMN checkpoint_seq    integer NOT NULL DEFAULT 0,
    ADD COLUMN log_seq           bigint NOT NULL DEFAULT 0,
    -- Whether somebody wants to hear of every change.
    ADD COLUMN watched           boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT secrets_end_with_the_work,
    ADD CONSTRAINT secrets_end_with_the_work CHECK (
        state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED') OR input IS NULL OR keeps_input)
        -- What is there fulfils the stricter one before.
        NOT VALID;

-- Serves the version before as well, which looks for all customers together.
CREATE INDEX workloads_in_lanes
    ON workloads (pool, type, key_id, key_version, customer_id, particular, rank DESC, id)
    INCLUDE (created_at)
    WHERE state IN ('PENDING', 'REDISTRIBUTING');
DROP INDEX workloads_waiting;

CREATE INDEX workloads_at_workers
    ON workloads (worker_id) INCLUDE (pool, type, key_id, state, customer_id)
    WHERE state IN ('SCHEDULED', 'RUNNING');
DROP INDEX workloads_held;

CREATE INDEX workloads_of_a_customer ON workloads (customer_id, id);

CREATE INDEX workloads_of_a_config ON workloads (config_id)
    WHERE config_id IS NOT NULL AND state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED');

-- A result is a proof, or what another kind of work yields: JSON, checked where it comes in.
ALTER TABLE results
    -- A look-up for each result; what deletes a workload deletes its result as well.
    DROP CONSTRAINT results_workload_id_fkey,
    ADD COLUMN output bytea,
    ALTER COLUMN proof DROP NOT NULL,
    ALTER COLUMN encoding DROP NOT NULL,
    ALTER COLUMN public DROP NOT NULL,
    ALTER COLUMN key_version DROP NOT NULL,
    ALTER COLUMN verified DROP NOT NULL;

-- Without references to workloads, for the same reason.
CREATE TABLE checkpoints (
    workload_id  uuid NOT NULL,
    seq          integer NOT NULL,
    generation   bigint NOT NULL,
    data         bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workload_id, seq)
);

-- Sealed, so that nothing is won by compressing.
ALTER TABLE checkpoints ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE logs (
    workload_id  uuid NOT NULL,
    seq          bigint NOT NULL,
    at           timestamptz NOT NULL,
    level        text NOT NULL,
    message      text NOT NULL,
    generation   bigint NOT NULL,
    PRIMARY KEY (workload_id, seq)
);
