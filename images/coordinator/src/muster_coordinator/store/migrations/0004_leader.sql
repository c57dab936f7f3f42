-- The fence of the leaders: every write of a leader carries the epoch that it took here.

CREATE TABLE leader_epoch (
    one_row   boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    epoch     bigint NOT NULL,
    holder    text NOT NULL DEFAULT '',
    taken_at  timestamptz NOT NULL DEFAULT now()
);

INSERT INTO leader_epoch (epoch) VALUES (0);

CREATE FUNCTION refuse_older_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'epoch % can''t follow epoch %', NEW.epoch, OLD.epoch
        USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER epochs_rise BEFORE UPDATE ON leader_epoch FOR EACH ROW
    WHEN (NEW.epoch <= OLD.epoch) EXECUTE FUNCTION refuse_older_epoch();
