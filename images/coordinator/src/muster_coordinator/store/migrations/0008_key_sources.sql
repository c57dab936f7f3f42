-- Keys from files, and the end of keys that nobody needs any more.

ALTER TABLE proving_keys
    -- Of the file that the key was imported from; empty for one that was made here.
    ADD COLUMN source_sha256 text NOT NULL DEFAULT '',
    -- Since when no pool makes new proofs with it.
    ADD COLUMN superseded_at timestamptz,
    -- Its proving side is gone; the verifying side stays, for the proofs that were made with it.
    ADD COLUMN retired_at    timestamptz,
    ALTER COLUMN proving_key DROP NOT NULL,
    ADD CONSTRAINT only_retired_keys_prove_nothing CHECK (
        (proving_key IS NULL) = (retired_at IS NOT NULL));

-- A key that was retired may be followed by another of the same kind.
DROP INDEX one_insecure_key;
CREATE UNIQUE INDEX one_insecure_key ON proving_keys (key_id)
    WHERE insecure AND retired_at IS NULL;
