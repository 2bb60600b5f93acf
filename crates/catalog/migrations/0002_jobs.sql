-- A deleted job keeps its row: its executions and savesets still name it.
CREATE TABLE job (
    job_id     BIGINT  NOT NULL PRIMARY KEY,
    site_id    TEXT    NOT NULL REFERENCES site (site_id),
    job_type   TEXT    NOT NULL,
    is_active  BOOLEAN NOT NULL,
    document   TEXT    NOT NULL,
    version    BIGINT  NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    deleted_at BIGINT
);

CREATE INDEX job_of_site ON job (site_id, job_id);

CREATE TABLE execution (
    execution_id          BIGINT NOT NULL PRIMARY KEY,
    site_id               TEXT   NOT NULL REFERENCES site (site_id),
    job_id                BIGINT NOT NULL REFERENCES job (job_id),
    -- What the job and the site said when it was queued.
    job_name              TEXT   NOT NULL,
    job_type              TEXT   NOT NULL,
    backup_mechanism      TEXT   NOT NULL,
    site_type             TEXT   NOT NULL,
    priority              BIGINT NOT NULL,
    target_site           TEXT,
    run_type              TEXT,
    parent_execution      BIGINT,
    requeue_of            BIGINT,
    status                TEXT   NOT NULL CHECK (status IN (
        'QUEUED', 'RUNNING', 'ABORTING', 'ABORTED', 'SUCCESSFUL',
        'COMPLETED_WITH_WARNINGS', 'COMPLETED_WITH_ERRORS', 'FAILED', 'SKIPPED')),
    status_detail         TEXT   NOT NULL,
    queued_at             BIGINT NOT NULL,
    start_time            BIGINT,
    end_time              BIGINT,
    -- What lists are ordered by: the largest number while QUEUED, then start_time, or the moment
    -- at which it ended without a start.
    order_time            BIGINT NOT NULL,
    attempt               BIGINT NOT NULL DEFAULT 0,
    -- The one an attempt has taken; saveset_id shows it once it is committed.
    claimed_saveset       BIGINT,
    saveset_id            BIGINT,
    backup_set_size       BIGINT NOT NULL DEFAULT 0,
    bytes_read            BIGINT NOT NULL DEFAULT 0,
    bytes_stored          BIGINT NOT NULL DEFAULT 0,
    phases                TEXT   NOT NULL DEFAULT '[]',
    -- Of the row in execution_notes; empty: there is none.
    notes_hash            TEXT   NOT NULL DEFAULT '',
    lease_owner           TEXT,
    lease_until           BIGINT,
    lease_epoch           BIGINT NOT NULL DEFAULT 0
);

-- One live execution a job: the second is refused here, whoever asks.
CREATE UNIQUE INDEX execution_live ON execution (job_id)
    WHERE status IN ('QUEUED', 'RUNNING', 'ABORTING');
CREATE INDEX execution_queue ON execution (priority, execution_id) WHERE status = 'QUEUED';
CREATE INDEX execution_of_site ON execution (site_id, order_time, execution_id);
CREATE INDEX execution_of_job ON execution (job_id, order_time, execution_id);
CREATE INDEX execution_newest ON execution (job_id, execution_id);
CREATE INDEX execution_of_target ON execution (target_site, order_time, execution_id);
CREATE INDEX execution_of_parent ON execution (parent_execution, execution_id);

-- What an execution has to say beside its numbers. Apart from its row, so that lists stay small.
CREATE TABLE execution_notes (
    execution_id BIGINT NOT NULL PRIMARY KEY REFERENCES execution (execution_id),
    warnings     TEXT   NOT NULL,
    skipped      TEXT   NOT NULL
);

CREATE TABLE saveset (
    site_id         TEXT    NOT NULL REFERENCES site (site_id),
    saveset_id      BIGINT  NOT NULL,
    job_id          BIGINT  NOT NULL,
    job_name        TEXT    NOT NULL,
    execution_id    BIGINT  NOT NULL,
    run_type        TEXT    NOT NULL,
    start_time      BIGINT  NOT NULL,
    end_time        BIGINT  NOT NULL,
    backup_set_size BIGINT  NOT NULL,
    bytes_stored    BIGINT  NOT NULL,
    is_retained     BOOLEAN NOT NULL,
    version         BIGINT  NOT NULL,
    -- Its deletion is decided: nothing may begin to use it. Then deleted_at: its manifest is gone.
    condemned_at    BIGINT,
    deleted_at      BIGINT,
    PRIMARY KEY (site_id, saveset_id)
);

CREATE INDEX saveset_of_job ON saveset (job_id, saveset_id);

CREATE TABLE idempotency (
    site_id      TEXT   NOT NULL REFERENCES site (site_id),
    job_id       BIGINT NOT NULL,
    operation    TEXT   NOT NULL,
    key_text     TEXT   NOT NULL,
    content_hash TEXT   NOT NULL,
    execution_id BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (site_id, job_id, operation, key_text)
);
