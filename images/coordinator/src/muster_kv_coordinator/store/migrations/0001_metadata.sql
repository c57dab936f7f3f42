CREATE TABLE tenants (
    tenant_id                   text PRIMARY KEY,
    -- In force: requests are placed by it.
    replication_factor          integer NOT NULL CHECK (replication_factor BETWEEN 1 AND 10),
    -- Asked for: in force when its migration is completed.
    desired_replication_factor  integer NOT NULL
                                CHECK (desired_replication_factor BETWEEN 1 AND 10),
    -- What it is being changed to, while it is: writes need a quorum of both.
    moving_to                   integer CHECK (moving_to BETWEEN 1 AND 10),
    policy                      jsonb NOT NULL,
    created_at                  timestamptz NOT NULL DEFAULT now(),
    updated_at                  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE storage_nodes (
    node_id        text PRIMARY KEY,
    host           text NOT NULL,
    port           integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    virtual_nodes  integer NOT NULL CHECK (virtual_nodes BETWEEN 1 AND 4096),
    zone           text NOT NULL,
    -- What is wanted of it; its state in the ring follows by migrations.
    status         text NOT NULL CHECK (status IN ('joining', 'active', 'draining', 'inactive')),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

-- One row: the ring in force. Whoever changes the topology holds it FOR UPDATE, and whoever relies
-- on the number of members FOR SHARE.
CREATE TABLE ring (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    version     bigint NOT NULL,
    phase       text NOT NULL CHECK (phase IN ('stable', 'moving', 'switched')),
    members     jsonb NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO ring (version, phase, members) VALUES (0, 'stable', '[]');

CREATE TABLE migrations (
    migration_id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    type                  text NOT NULL
                          CHECK (type IN ('node_addition', 'node_deletion', 'replication_change')),
    node_id               text NOT NULL DEFAULT '',
    tenant_id             text NOT NULL DEFAULT '',
    old_factor            integer,
    new_factor            integer,
    status                text NOT NULL CHECK (
        status IN ('pending', 'in_progress', 'completed', 'failed', 'cancelled')),
    cancel_requested      boolean NOT NULL DEFAULT false,
    keys_migrated         bigint NOT NULL DEFAULT 0,
    total_keys            bigint NOT NULL DEFAULT 0,
    error                 text NOT NULL DEFAULT '',
    created_at            timestamptz NOT NULL DEFAULT now(),
    started_at            timestamptz,
    estimated_completion  timestamptz,
    finished_at           timestamptz
);
CREATE INDEX migrations_open ON migrations (created_at)
    WHERE status IN ('pending', 'in_progress');

-- How far each range of a migration has come, so that it goes on where it was.
CREATE TABLE migration_ranges (
    migration_id  uuid NOT NULL REFERENCES migrations ON DELETE CASCADE,
    -- Tokens are 64 bits without a sign, big-endian; the range is (start, end].
    range_start   bytea NOT NULL CHECK (length(range_start) = 8),
    range_end     bytea NOT NULL CHECK (length(range_end) = 8),
    source        text NOT NULL,
    target        text NOT NULL,
    status        text NOT NULL CHECK (status IN ('pending', 'in_progress', 'completed')),
    after_key     bytea,
    keys          bigint NOT NULL DEFAULT 0,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (migration_id, range_start, target)
);

CREATE FUNCTION notify_of_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kv_tenants', coalesce(NEW.tenant_id, OLD.tenant_id));
    RETURN NULL;
END $$;
CREATE TRIGGER tenants_notify AFTER INSERT OR UPDATE OR DELETE ON tenants
    FOR EACH ROW EXECUTE FUNCTION notify_of_tenant();

CREATE FUNCTION notify_of_ring() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version <= OLD.version THEN
        RAISE EXCEPTION 'the version of a ring only rises: % after %', NEW.version, OLD.version;
    END IF;
    PERFORM pg_notify('kv_ring', NEW.version::text);
    RETURN NULL;
END $$;
CREATE TRIGGER ring_notify AFTER UPDATE ON ring
    FOR EACH ROW EXECUTE FUNCTION notify_of_ring();

CREATE FUNCTION notify_of_migration() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kv_migrations', NEW.migration_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER migrations_notify AFTER INSERT OR UPDATE OF status, cancel_requested ON migrations
    FOR EACH ROW EXECUTE FUNCTION notify_of_migration();
