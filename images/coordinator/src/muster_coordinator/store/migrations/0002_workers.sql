-- The registry: workers, and the replicas that hold their streams.

CREATE TABLE workers (
    id                 text PRIMARY KEY,
    pool               text NOT NULL,
    status             text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN (
                           'ACTIVE', 'SUSPECT', 'DEAD', 'DRAINING', 'QUARANTINED')),
    status_reason      text NOT NULL DEFAULT '',
    status_changed_at  timestamptz NOT NULL DEFAULT now(),
    capacity           integer NOT NULL CHECK (capacity > 0),
    types              text[] NOT NULL,
    keys               jsonb NOT NULL DEFAULT '{}',
    tags               jsonb NOT NULL DEFAULT '{}',
    version            text NOT NULL DEFAULT '',
    instance           text NOT NULL DEFAULT '',
    active_tasks       integer NOT NULL DEFAULT 0,
    replica_id         text,
    stream_id          uuid,
    stream_lost_at     timestamptz,
    registered_at      timestamptz NOT NULL DEFAULT now(),
    last_heartbeat_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stream_on_a_replica CHECK ((stream_id IS NULL) = (replica_id IS NULL))
) WITH (fillfactor = 50);

CREATE FUNCTION refuse_worker_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'worker %: % to % is not allowed', OLD.id, OLD.status, NEW.status
        USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER worker_transitions BEFORE UPDATE ON workers FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status AND (OLD.status, NEW.status) NOT IN (
        ('ACTIVE', 'SUSPECT'), ('ACTIVE', 'DRAINING'), ('ACTIVE', 'QUARANTINED'),
        ('SUSPECT', 'ACTIVE'), ('SUSPECT', 'DEAD'), ('SUSPECT', 'DRAINING'),
        ('SUSPECT', 'QUARANTINED'),
        ('DEAD', 'ACTIVE'), ('DEAD', 'QUARANTINED'),
        ('DRAINING', 'DEAD'), ('DRAINING', 'QUARANTINED')))
    EXECUTE FUNCTION refuse_worker_change();

CREATE TABLE replicas (
    id            text PRIMARY KEY,
    started_at    timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
