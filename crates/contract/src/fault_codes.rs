//! Codes that come from below the API. A test of `server` holds this list against the sources of
//! the other crates.

/// Each code with what it means, by room.
pub const FAULTS: &[(&str, &str)] = &[
    // catalog
    ("catalog-busy", "The catalog is locked by something else."),
    (
        "catalog-damaged",
        "The catalog holds something that this program never writes.",
    ),
    (
        "catalog-disk-full",
        "The disk of the data directory is full.",
    ),
    ("catalog-failed", "The catalog's database failed."),
    (
        "catalog-file",
        "A file of the data directory cannot be read or written.",
    ),
    ("catalog-locked", "Another server uses the data directory."),
    (
        "catalog-migration-failed",
        "The catalog could not be brought to this version; its copy is beside it.",
    ),
    ("catalog-newer", "A newer Backstay wrote the catalog."),
    ("crypto-failed", "The cryptographic library refused."),
    (
        "data-directory-exposed",
        "Others than its owner can use the data directory.",
    ),
    (
        "fixed-field",
        "A field that never changes was to be changed.",
    ),
    (
        "illegal-transition",
        "An execution was to change in a way that the rules do not know.",
    ),
    (
        "master-key-exposed",
        "Others than its owner can read the master key.",
    ),
    (
        "master-key-unreadable",
        "The master key is not 32 bytes in hex or base64.",
    ),
    ("master-key-wrong", "The master key is not the catalog's."),
    (
        "no-restore-settings",
        "A restore job does not say what it restores.",
    ),
    (
        "saveset-in-use",
        "A restore reads the saveset, or other savesets need it.",
    ),
    ("saveset-retained", "The saveset is protected."),
    ("seal-broken", "A sealed secret does not open."),
    ("site-busy", "A restore into the site has not ended."),
    (
        "verification-running",
        "The saveset is being verified already.",
    ),
    ("unusable-token", "A token that no HTTP header can carry."),
    // jobs
    (
        "no-engine",
        "This server has no engine for that kind of site.",
    ),
    (
        "not-for-this-job",
        "A backup was given what only a restore takes, or the other way round.",
    ),
    (
        "bad-selection",
        "The objects of a job contradict each other, or name nothing.",
    ),
    (
        "not-in-saveset",
        "The saveset does not hold what is asked for.",
    ),
    (
        "other-site-type",
        "Source and target are of different kinds.",
    ),
    ("lease-lost", "Another server has taken the execution over."),
    ("vault-silent", "The vault gave no answer in time."),
    (
        "recovery-key-unreadable",
        "What was given as a recovery key cannot be one.",
    ),
    (
        "adoption-incomplete",
        "The vault does not say something that a site must have.",
    ),
    // flow
    (
        "base-damaged",
        "What a DELTA builds on cannot be read; the next backup must be a FULL one.",
    ),
    (
        "dictionary-io",
        "A part of the dictionary could not be passed on.",
    ),
    (
        "export-directory",
        "The directory of an export cannot be made, read or written.",
    ),
    (
        "export-not-empty",
        "The directory of an export holds something.",
    ),
    ("in-the-way", "Something is in the way of a restore."),
    (
        "rows-differ",
        "The database counted other rows than the saveset has.",
    ),
    ("stopped", "The run was stopped."),
    // PostgreSQL
    (
        "bad-connection-url",
        "The site's connection URL cannot be used.",
    ),
    (
        "catalog-changed",
        "The database's catalog changed while it was read.",
    ),
    (
        "extension-needs-superuser",
        "An extension that only a superuser can create is missing on the target.",
    ),
    (
        "gave-way-to-ddl",
        "The run let go of its locks because a DDL statement waited.",
    ),
    (
        "insufficient-privilege",
        "The database user lacks a right; the hint has the GRANT.",
    ),
    ("lock-not-available", "A lock was not to be had in time."),
    ("login-refused", "The database refused the site's user."),
    ("missing-collation", "The target lacks a collation."),
    ("missing-extension", "The target lacks an extension."),
    (
        "missing-object",
        "What is restored needs an object that the target does not have.",
    ),
    (
        "missing-right",
        "The user of the restore lacks a right on the target.",
    ),
    (
        "needs-another-object",
        "What is to be restored is made from something that is not.",
    ),
    (
        "needs-superuser",
        "Something can only be restored by a superuser.",
    ),
    (
        "names-not-utf8",
        "Names in the database cannot be converted to UTF-8.",
    ),
    ("no-such-database", "The server has no such database."),
    (
        "no-such-object",
        "The database does not have what is selected.",
    ),
    (
        "offline-on-standby",
        "A standby cannot lock its tables against writers.",
    ),
    (
        "not-a-member",
        "The user of the restore is no member of an owner's role.",
    ),
    (
        "out-of-lock-memory",
        "The server's lock table is full; raise max_locks_per_transaction.",
    ),
    (
        "source-connection-lost",
        "The connection to the database was lost.",
    ),
    ("source-failed", "A query on the database failed."),
    (
        "source-protocol",
        "The database sent what was not understood.",
    ),
    (
        "source-tls",
        "No TLS connection as the URL asks for could be made.",
    ),
    (
        "source-unreachable",
        "The database server cannot be reached.",
    ),
    ("target-is-template", "The target database is a template."),
    ("temporary-file", "A temporary file cannot be written."),
    ("too-many-connections", "The server has no connection left."),
    ("tool-failed", "pg_dump or pg_restore failed."),
    (
        "tool-missing",
        "pg_dump or pg_restore of the needed version is not there.",
    ),
    (
        "unknown-role",
        "The target lacks a role that owns or may use something.",
    ),
    (
        "unsupported-version",
        "The server is older than 14 or newer than what is known.",
    ),
    (
        "dictionary-failed",
        "The dictionary could not be written or restored.",
    ),
    (
        "restore-left-behind",
        "A restore could not take away what it had made.",
    ),
    (
        "restore-obstacle",
        "Something appeared in the way while a restore ran.",
    ),
    (
        "saveset-too-new",
        "The saveset was made from a newer PostgreSQL than the target.",
    ),
    (
        "saveset-unreadable",
        "The saveset's facts cannot be understood.",
    ),
    (
        "swap-unknown",
        "It is not known whether the restored database was put in its place.",
    ),
    (
        "target-in-use",
        "Sessions are connected to the target database.",
    ),
    (
        "working-database-exists",
        "A working database of that name is there already.",
    ),
    (
        "export-disk-full",
        "The disk that an export goes to is full.",
    ),
    ("export-file", "A file of an export cannot be written."),
    ("export-order", "A mistake of the program in an export."),
    (
        "export-other-engine",
        "The saveset is of another kind of database system.",
    ),
    ("export-panicked", "A mistake of the program in an export."),
    (
        "export-rows",
        "The rows of the saveset are not in the form that it says.",
    ),
    // SQLite
    ("cancelled", "The read was stopped."),
    (
        "snapshot-too-old",
        "The snapshot became older than the site allows.",
    ),
    ("sqlite-bad-name", "The name is no plain file name."),
    (
        "sqlite-bad-task",
        "A mistake of ours: a range of pages that cannot be.",
    ),
    ("sqlite-damaged", "The database file is damaged."),
    ("sqlite-directory", "The site's directory cannot be used."),
    ("sqlite-failed", "SQLite refused."),
    ("sqlite-file", "A file cannot be read or written."),
    (
        "sqlite-integrity",
        "The restored file failed its integrity check.",
    ),
    ("sqlite-locked", "Somebody else has locked the database."),
    (
        "sqlite-needs-recovery",
        "The database must first be recovered by an application that may write to it.",
    ),
    (
        "sqlite-not-alone",
        "An object cannot be restored without the rest of its file.",
    ),
    ("sqlite-no-database", "There is no such database file."),
    (
        "sqlite-no-dbpage",
        "This build of SQLite lacks sqlite_dbpage.",
    ),
    ("sqlite-not-a-database", "The file is no SQLite database."),
    ("sqlite-not-a-file", "It is no regular file."),
    (
        "sqlite-order",
        "A mistake of ours: calls came out of order.",
    ),
    ("sqlite-page", "A page has the wrong length."),
    ("sqlite-pages", "The number of pages is not what was saved."),
    (
        "sqlite-panicked",
        "A mistake of ours while SQLite was read.",
    ),
    (
        "sqlite-row-count",
        "The restored file has other rows than were saved.",
    ),
    (
        "sqlite-saveset",
        "The saveset's facts cannot be understood.",
    ),
    ("sqlite-target-in-use", "The target file is in use."),
    (
        "sqlite-wrong-connection",
        "The connection is none of a SQLITE site.",
    ),
    (
        "target-in-the-way",
        "Something that is no database has the target's name.",
    ),
    // server
    (
        "listener-failed",
        "The server can no longer accept connections.",
    ),
    // vault
    ("saveset-committed", "The saveset is committed already."),
    ("saveset-gone", "The saveset was dropped or declared dead."),
    (
        "saveset-missing",
        "The vault has no such saveset, or no such part of it.",
    ),
    ("saveset-taken", "Somebody else took the saveset's number."),
    (
        "vault-access-denied",
        "The store of the vault refuses access.",
    ),
    ("vault-bug", "A mistake of ours in the vault."),
    (
        "vault-damaged",
        "Bytes of the vault are not what was written.",
    ),
    ("vault-exists", "There is a vault already."),
    ("vault-location", "The vault's place cannot be used."),
    ("vault-missing", "There is no vault at its place."),
    ("vault-newer", "A newer Backstay wrote the vault."),
    ("vault-owned", "Another server owns the vault."),
    (
        "vault-too-large",
        "Something is larger than the vault's format can hold.",
    ),
    (
        "vault-unreachable",
        "The store of the vault cannot be reached.",
    ),
    (
        "vault-unsuitable",
        "The store of the vault cannot put without overwriting.",
    ),
    ("vault-wrong-key", "The key does not open the vault."),
];
