-- What a run was asked to be, why it became what it is, the saveset that it builds on (none may delete
-- it meanwhile), how each database's changed blocks were found, and what then decided what is stored.
ALTER TABLE execution ADD COLUMN asked_run_type TEXT;
ALTER TABLE execution ADD COLUMN run_reason TEXT;
ALTER TABLE execution ADD COLUMN base_saveset BIGINT;
ALTER TABLE execution ADD COLUMN changed_blocks TEXT NOT NULL DEFAULT '[]';
ALTER TABLE execution ADD COLUMN made_with TEXT;

UPDATE execution SET asked_run_type = run_type WHERE status = 'QUEUED';

-- Places in the history of each site's database system, of about a day; `number` is their order.
CREATE TABLE beat (
    site_id  TEXT   NOT NULL REFERENCES site (site_id),
    number   BIGINT NOT NULL,
    beat_at  BIGINT NOT NULL,
    document TEXT   NOT NULL,
    PRIMARY KEY (site_id, number)
);
