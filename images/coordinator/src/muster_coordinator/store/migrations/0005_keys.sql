-- Proving and verifying keys of the circuits.

CREATE TABLE proving_keys (
    key_id              text NOT NULL,
    version             text NOT NULL,
    proving_key         bytea NOT NULL,
    proving_key_sha256  text NOT NULL,
    verifying_key       bytea NOT NULL,
    insecure            boolean NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key_id, version)
);

-- Not compressed, so that a part of a key can be read without the whole.
ALTER TABLE proving_keys ALTER COLUMN proving_key SET STORAGE EXTERNAL;

-- An in-process setup is made once for each circuit, whoever leads.
CREATE UNIQUE INDEX one_insecure_key ON proving_keys (key_id) WHERE insecure;
