-- The common dialect of SQLite and PostgreSQL: BIGINT (times are microseconds UTC), TEXT (JSON
-- and hex too), BOOLEAN. Ids come from `counter`, never from AUTOINCREMENT or IDENTITY.

CREATE TABLE setting (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE counter (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counter (name, value) VALUES ('job', 0), ('execution', 0);

CREATE TABLE site (
    site_id    TEXT   NOT NULL PRIMARY KEY,
    document   TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Each value is sealed under the master key and bound to this table, its site and its name.
CREATE TABLE site_secret (
    site_id TEXT NOT NULL REFERENCES site (site_id),
    name    TEXT NOT NULL,
    sealed  TEXT NOT NULL,
    PRIMARY KEY (site_id, name)
);

CREATE TABLE token (
    token_hash    TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    administrator BOOLEAN NOT NULL,
    created_at    BIGINT  NOT NULL
);
