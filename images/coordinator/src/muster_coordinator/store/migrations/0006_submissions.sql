-- What a submission may ask for: not to wait for ever, and to be taken in only once.

ALTER TABLE workloads ADD COLUMN deadline_at timestamptz;

CREATE INDEX workloads_deadlines ON workloads (deadline_at)
    WHERE state IN ('PENDING', 'REDISTRIBUTING') AND deadline_at IS NOT NULL;

CREATE TABLE idempotency_keys (
    customer_id   text NOT NULL,
    -- Of the key, which itself is not kept: it salts the fingerprint, so that no one can find out
    -- a secret input from here by trying.
    key_sha256    bytea NOT NULL,
    fingerprint   bytea NOT NULL,
    workload_ids  uuid[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (customer_id, key_sha256)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
