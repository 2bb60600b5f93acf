//! What the reading half tells the restoring half: versioned JSON in the manifest, opaque to all
//! other crates. Fields may be added; a reader refuses a version that is newer than its own.

use serde::{Deserialize, Serialize};

use crate::changed::{HeapFacts, WalWindow};

/// The version that this build writes, and the newest that it reads.
pub(crate) const FACTS_VERSION: u32 = 1;

/// Names of the dictionary's parts.
pub(crate) mod part {
    /// `pg_dump --format=custom --schema-only` of the whole database.
    pub(crate) const SCHEMA_DUMP: &str = "schema.dump";
    /// `pg_dumpall --globals-only --no-role-passwords`, as SQL text. Left out where the role may
    /// not read it.
    pub(crate) const GLOBALS: &str = "globals.sql";
    /// [`DatabaseFacts`](super::DatabaseFacts) as JSON.
    pub(crate) const DATABASE: &str = "database.json";
    /// [`LargeObjectFacts`](super::LargeObjectFacts), one JSON object a line, ordered by OID.
    pub(crate) const LARGE_OBJECTS: &str = "large_objects.jsonl";
    /// [`SequenceFacts`](super::SequenceFacts), one JSON object a line. A late part.
    pub(crate) const SEQUENCES: &str = "sequences.jsonl";
}

/// A schema-qualified name, unquoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct QualifiedName {
    /// The schema.
    pub schema: String,
    /// The object.
    pub name: String,
}

/// What the rows of a planned table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TableKind {
    /// Rows of a table, loaded by COPY FROM.
    Rows,
    /// Rows of `pg_largeobject`: (loid oid, pageno int4, data bytea), in BINARY, any order of
    /// pages. `schema` is `pg_catalog`, `name` is `pg_largeobject`.
    LargeObjects,
}

/// [`model::TablePlan::facts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableFacts {
    /// [`FACTS_VERSION`].
    pub version: u32,
    /// What the rows are.
    pub kind: TableKind,
    /// The schema at the time of the snapshot.
    pub schema: String,
    /// The table's own name.
    pub name: String,
    /// The columns in the order of the rows, unquoted; without generated and dropped ones.
    /// Empty: a table without columns; COPY FROM then takes no column list.
    pub columns: Vec<String>,
    /// `client_encoding` of the rows: set it before COPY FROM.
    pub encoding: String,
    /// UNLOGGED.
    #[serde(default)]
    pub unlogged: bool,
    /// The topmost partitioned table, where this is a partition.
    #[serde(default)]
    pub partition_root: Option<QualifiedName>,
    /// Load the rows into this table instead: the leaf hangs below a hash partitioned one whose
    /// hash may differ in another database (a key that is an enum, or text under a collation).
    #[serde(default)]
    pub load_through: Option<QualifiedName>,
    /// The extension that the table belongs to: a configuration table.
    #[serde(default)]
    pub extension: Option<String>,
    /// Which rows of it are the user's; empty: all.
    #[serde(default)]
    pub extension_condition: Option<String>,
    /// How to read each column's binary form, for tables in BINARY; an older saveset does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<Form>,
    /// Where its rows lie: by that a later backup knows which of them it need not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heap: Option<HeapFacts>,
}

/// The binary form of a column. A domain has its base type's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    /// A built-in type, by its name in `pg_type`.
    Plain(String),
    /// A label of an enum, as text.
    Label,
    /// An array of these.
    Array(Box<Form>),
    /// A range of these.
    Range(Box<Form>),
    /// Several ranges of these.
    Multirange(Box<Form>),
}

/// One `ALTER DATABASE … SET` or `ALTER ROLE … IN DATABASE … SET`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseSetting {
    /// The role; `None`: all.
    pub role: Option<String>,
    /// The parameter.
    pub parameter: String,
    /// Its value, as text, as `pg_db_role_setting.setconfig` has it behind the `=`.
    pub value: String,
}

/// One entry of an access list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// Who gave it.
    pub grantor: String,
    /// Who has it; `None`: PUBLIC.
    pub grantee: Option<String>,
    /// `SELECT`, `UPDATE`, `CONNECT`, `CREATE`, `TEMPORARY`.
    pub privilege: String,
    /// WITH GRANT OPTION.
    pub grantable: bool,
}

/// What `pg_dump --schema-only` leaves out about the database itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseFacts {
    /// [`FACTS_VERSION`].
    pub version: u32,
    /// The database's name.
    pub name: String,
    /// The server: 170002.
    pub server_version_num: u32,
    /// The server, as it says it: `17.2 (Debian 17.2-1.pgdg120+1)`.
    pub server_version: String,
    /// The major version of the pg_dump that wrote the dictionary: pg_restore is never older.
    pub dump_tool_major: u32,
    /// Whether the dictionary holds statistics (pg_dump and server of 18 or newer).
    pub dump_holds_statistics: bool,
    /// `UTF8`.
    pub encoding: String,
    /// `c` (libc), `i` (ICU), `b` (builtin, 17+).
    pub locale_provider: String,
    /// LC_COLLATE.
    pub lc_collate: String,
    /// LC_CTYPE.
    pub lc_ctype: String,
    /// The locale of ICU or builtin.
    pub locale: Option<String>,
    /// ICU rules (16+).
    pub icu_rules: Option<String>,
    /// The version of the collation that the database recorded (15+).
    pub collation_version: Option<String>,
    /// Its owner.
    pub owner: String,
    /// Its tablespace.
    pub tablespace: String,
    /// COMMENT ON DATABASE.
    pub comment: Option<String>,
    /// CONNECTION LIMIT; -1: none.
    pub connection_limit: i32,
    /// IS_TEMPLATE.
    pub is_template: bool,
    /// ALLOW_CONNECTIONS.
    pub allow_connections: bool,
    /// Its access list; `None`: the default one.
    pub grants: Option<Vec<Grant>>,
    /// `ALTER DATABASE/ROLE … SET` for this database.
    pub settings: Vec<DatabaseSetting>,
    /// `SECURITY LABEL ON DATABASE`: provider and label.
    #[serde(default)]
    pub security_labels: Vec<(String, String)>,
    /// What the dictionary needs of a server that it is restored to: read in the snapshot by
    /// [`restore::needs::read`](crate::restore::needs::read).
    #[serde(default)]
    pub needs: RestoreNeeds,
}

/// What the objects of a database need of a server, and what their DDL does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RestoreNeeds {
    /// The roles that own something, the database included.
    pub owners: Vec<String>,
    /// The roles that access lists, policies and default privileges name.
    pub grantees: Vec<String>,
    /// The extensions, without plpgsql.
    pub extensions: Vec<ExtensionFacts>,
    /// The tablespaces that relations lie in, without the database's own.
    pub tablespaces: Vec<String>,
    /// The schemas, without those of the system.
    pub schemas: Vec<String>,
    /// Materialized views that hold no rows: `WITH NO DATA`.
    pub unfilled_views: Vec<QualifiedName>,
    /// Collations that the operating system or ICU gave to the source, as columns use them.
    pub collations: Vec<String>,
    /// Whether everybody may make objects in the schema public, as up to PostgreSQL 14. pg_dump does
    /// not say it of such a server. `None`: there is no such schema.
    #[serde(default)]
    pub public_schema_open: Option<bool>,
    /// `block_size` of the source; a page of a large object is a quarter of it. 0: not known.
    pub block_size: u32,
}

/// An extension of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExtensionFacts {
    /// Its name.
    pub name: String,
    /// The version that was installed.
    pub version: String,
}

/// A large object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LargeObjectFacts {
    /// Its OID, which rows refer to.
    pub oid: u32,
    /// Its owner.
    pub owner: String,
    /// Its access list; `None`: the default one.
    pub grants: Option<Vec<Grant>>,
    /// Its comment.
    pub comment: Option<String>,
    /// `SECURITY LABEL ON LARGE OBJECT`: provider and label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_labels: Vec<(String, String)>,
}

/// A sequence's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SequenceFacts {
    /// The schema.
    pub schema: String,
    /// The sequence.
    pub name: String,
    /// `last_value`.
    pub last_value: i64,
    /// `is_called`.
    pub is_called: bool,
}

/// [`model::ClosingFacts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosingFacts {
    /// [`FACTS_VERSION`].
    pub version: u32,
    /// The database.
    pub database: String,
    /// The server.
    pub server_version_num: u32,
    /// `pg_control_system()`'s; `None` where the role may not read it.
    pub system_identifier: Option<String>,
    /// Its timeline.
    pub timeline: Option<u32>,
    /// The database's OID.
    pub database_oid: u32,
    /// The exported snapshot, as `pg_current_snapshot()` prints it.
    pub snapshot: String,
    /// When the snapshot was taken, RFC 3339.
    pub snapshot_time: String,
    /// The database's encoding.
    pub encoding: String,
    /// Whether the source was a standby.
    pub standby: bool,
    /// Its place in the WAL, for a backup that builds on this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WalWindow>,
    /// Why it has none, as a sentence's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_window: Option<String>,
}
