-- Whose work it is: customers with their limits, their keys, and what they keep here.

CREATE TABLE customers (
    id              text PRIMARY KEY,
    name            text NOT NULL DEFAULT '',
    tier            text NOT NULL DEFAULT 'free' CHECK (tier IN (
                        'free', 'standard', 'premium', 'enterprise')),
    -- Null for that of the tier, 0 for none.
    max_concurrent  integer CHECK (max_concurrent >= 0),
    max_queued      integer CHECK (max_queued >= 0),
    created_at      timestamptz NOT NULL DEFAULT now()
);

-- Of work that comes without an account.
INSERT INTO customers (id, tier, max_concurrent, max_queued) VALUES ('default', 'enterprise', 0, 0);

CREATE TABLE api_keys (
    id             uuid PRIMARY KEY,
    -- Null for keys of administrators.
    customer_id    text REFERENCES customers (id) ON DELETE CASCADE,
    prefix         text NOT NULL,
    -- Of a secret with 190 bits of entropy, so that it can't be found by trying.
    secret_sha256  bytea NOT NULL UNIQUE,
    admin          boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz,
    revoked_at     timestamptz,
    last_used_at   timestamptz,
    CONSTRAINT somebodys CHECK (admin OR customer_id IS NOT NULL)
);

CREATE INDEX api_keys_of_a_customer ON api_keys (customer_id);

CREATE TABLE workload_configs (
    id               uuid PRIMARY KEY,
    customer_id      text NOT NULL,
    name             text NOT NULL,
    workload_type    text NOT NULL,
    input_params     jsonb NOT NULL,
    priority         integer NOT NULL CHECK (priority BETWEEN 0 AND 1000),
    timeout_seconds  double precision,
    max_retries      integer NOT NULL,
    affinity         jsonb NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_of_a_name UNIQUE (customer_id, name)
);
