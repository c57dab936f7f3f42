-- Who maintains the cluster: every write of a leader is made under the epoch of its reign.
CREATE TABLE maintenance (
    one             boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch           bigint NOT NULL,
    holder          text NOT NULL,
    -- The last anti-entropy round that all members took part in, and whether one is wanted now.
    round_started   timestamptz,
    round_finished  timestamptz NOT NULL DEFAULT now(),
    round_wanted    boolean NOT NULL DEFAULT false
);
INSERT INTO maintenance (epoch, holder) VALUES (0, '');

-- The ring version with which a tenant's replication factor changed last: what was known of tenants
-- before it must be asked for again.
ALTER TABLE ring ADD COLUMN factors_version bigint NOT NULL DEFAULT 0;

ALTER TABLE migrations
    ADD COLUMN stage text NOT NULL DEFAULT 'waiting' CHECK (
        stage IN ('waiting', 'clearing', 'copying', 'settling', 'cleaning', 'undoing', 'ended')),
    -- The node is given up: nothing waits for it.
    ADD COLUMN forced boolean NOT NULL DEFAULT false,
    -- The data folder of a node that is filled again.
    ADD COLUMN folder text NOT NULL DEFAULT '',
    -- The replication factors that the ranges were made for.
    ADD COLUMN factors integer[] NOT NULL DEFAULT '{}';

ALTER TABLE migrations DROP CONSTRAINT migrations_type_check;
ALTER TABLE migrations ADD CONSTRAINT migrations_type_check CHECK (
    type IN ('node_addition', 'node_deletion', 'node_replacement', 'replication_change'));

-- Never more than one change of the topology at a time.
CREATE UNIQUE INDEX migrations_one_at_work ON migrations ((true)) WHERE status = 'in_progress';

DROP TABLE migration_ranges;
-- How far each range of a migration has come, so that it goes on where it was.
CREATE TABLE migration_ranges (
    migration_id  uuid NOT NULL REFERENCES migrations ON DELETE CASCADE,
    factor        integer NOT NULL,
    -- Tokens are 64 bits without a sign, big-endian; both are of the range.
    range_first   bytea NOT NULL CHECK (length(range_first) = 8),
    range_last    bytea NOT NULL CHECK (length(range_last) = 8),
    target        text NOT NULL,
    -- Whose data are enough together (see muster_kv.moves), and who has been copied whole.
    sources       text[] NOT NULL,
    needed        integer NOT NULL,
    replaces      text NOT NULL,
    copied        text[] NOT NULL DEFAULT '{}',
    -- The target holds nothing of the range before.
    gains         boolean NOT NULL,
    -- Where the copy from `source` is.
    source        text NOT NULL DEFAULT '',
    after_key     bytea NOT NULL DEFAULT '',
    keys          bigint NOT NULL DEFAULT 0,
    done          boolean NOT NULL DEFAULT false,
    PRIMARY KEY (migration_id, factor, range_first, target)
);
