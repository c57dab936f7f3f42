-- Quarantine ends; finished work is deleted after a time, and what its workers did is remembered.

ALTER TABLE workers
    ADD COLUMN quarantines         integer NOT NULL DEFAULT 0,
    ADD COLUMN quarantined_until   timestamptz,
    ADD COLUMN retired_tasks       bigint NOT NULL DEFAULT 0,
    ADD COLUMN retired_duration_ms bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE TRIGGER worker_transitions BEFORE UPDATE ON workers FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status AND (OLD.status, NEW.status) NOT IN (
        ('ACTIVE', 'SUSPECT'), ('ACTIVE', 'DRAINING'), ('ACTIVE', 'QUARANTINED'),
        ('SUSPECT', 'ACTIVE'), ('SUSPECT', 'DEAD'), ('SUSPECT', 'DRAINING'),
        ('SUSPECT', 'QUARANTINED'),
        ('DEAD', 'ACTIVE'), ('DEAD', 'QUARANTINED'),
        ('DRAINING', 'DEAD'), ('DRAINING', 'QUARANTINED'),
        ('QUARANTINED', 'ACTIVE')))
    EXECUTE FUNCTION refuse_worker_change();

CREATE INDEX workloads_ended ON workloads (completed_at)
    WHERE state IN ('COMPLETED', 'FAILED', 'CANCELLED');
