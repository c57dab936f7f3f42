-- Anti-entropy that somebody asked for, of one tenant's records or of all (''). It takes the place of
-- maintenance.round_wanted, which stays for coordinators of the version before.
CREATE TABLE repairs (
    repair_id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id         text NOT NULL DEFAULT '',
    status            text NOT NULL DEFAULT 'pending'
                      CHECK (status IN ('pending', 'in_progress', 'completed')),
    -- Why it is not completed yet.
    waiting_for       text NOT NULL DEFAULT '',
    ranges_differing  bigint NOT NULL DEFAULT 0,
    records_repaired  bigint NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now(),
    started_at        timestamptz,
    finished_at       timestamptz
);
-- Who asks for what nobody has begun with waits for the same.
CREATE UNIQUE INDEX repairs_pending ON repairs (tenant_id) WHERE status = 'pending';
CREATE INDEX repairs_open ON repairs (created_at) WHERE status <> 'completed';

CREATE FUNCTION notify_of_repair() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kv_repairs', NEW.repair_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER repairs_notify AFTER INSERT ON repairs
    FOR EACH ROW EXECUTE FUNCTION notify_of_repair();
