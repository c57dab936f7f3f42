-- The report of an end may be the first that is heard of the beginning: both are stored in one step,
-- which says when it began.

CREATE OR REPLACE TRIGGER workload_transitions BEFORE UPDATE ON workloads FOR EACH ROW
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
