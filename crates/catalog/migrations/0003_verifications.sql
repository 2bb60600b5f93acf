-- The newest verification of each saveset. Its columns have names that a saveset has not.
CREATE TABLE verification (
    of_site       TEXT    NOT NULL,
    of_saveset    BIGINT  NOT NULL,
    status        TEXT    NOT NULL CHECK (status IN (
        'QUEUED', 'RUNNING', 'SUCCESSFUL', 'FAILED', 'ABORTED')),
    thorough      BOOLEAN NOT NULL,
    asked_at      BIGINT  NOT NULL,
    began_at      BIGINT,
    ended_at      BIGINT,
    bytes_total   BIGINT  NOT NULL DEFAULT 0,
    bytes_done    BIGINT  NOT NULL DEFAULT 0,
    damaged       TEXT    NOT NULL DEFAULT '[]',
    damaged_count BIGINT  NOT NULL DEFAULT 0,
    detail        TEXT    NOT NULL,
    PRIMARY KEY (of_site, of_saveset),
    FOREIGN KEY (of_site, of_saveset) REFERENCES saveset (site_id, saveset_id)
);

-- When a verification found the saveset damaged, and whether it was a thorough one: only one that
-- looked as closely takes it back.
ALTER TABLE saveset ADD COLUMN damaged_at BIGINT;
ALTER TABLE saveset ADD COLUMN damaged_thorough BOOLEAN;
