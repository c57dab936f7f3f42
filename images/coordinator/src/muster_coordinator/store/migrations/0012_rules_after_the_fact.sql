-- A trigger before an update locks each row apart, with an entry of its own in the journal. One after
-- it refuses the same, and the statement with it.

CREATE OR REPLACE TRIGGER workload_transitions AFTER UPDATE ON workloads FOR EACH ROW
    WHEN (NEW.generation < OLD.generation
          OR (OLD.state IS DISTINCT FROM NEW.state
              AND (OLD.state, NEW.state) NOT IN (
                  ('PENDING', 'SCHEDULED'), ('PENDING', 'FAILED'), ('PENDING', 'CANCELLED'),
                  ('SCHEDULED', 'RUNNING'), ('SCHEDULED', 'PENDING'), ('SCHEDULED', 'FAILED'),
                  ('SCHEDULED', 'CANCELLED'),
                  ('RUNNING', 'COMPLETED'), ('RUNNING', 'FAILED'), ('RUNNING', 'CANCELLED'),
                  ('RUNNING', 'PAUSED'), ('RUNNING', 'PENDING'), ('RUNNING', 'REDISTRIBUTING'),
                  ('PAUSED', 'PENDING'), ('PAUSED', 'CANCELLED'),
                  ('REDISTRIBUTING', 'SCHEDULED'), ('REDISTRIBUTING', 'FAILED'),
                  ('REDISTRIBUTING', 'CANCELLED'))
              AND NOT (OLD.state = 'SCHEDULED' AND NEW.state = 'COMPLETED'
                       AND NEW.started_at IS NOT NULL)))
    EXECUTE FUNCTION refuse_workload_change();
