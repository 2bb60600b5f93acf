//! The dictionary: pg_dump of the schema, and what it leaves out about the database.

use std::time::Duration;

use model::Progress;
use tempfile::NamedTempFile;

use crate::dump_time;
use crate::error::PostgresError;
use crate::facts::{DatabaseFacts, DatabaseSetting, FACTS_VERSION, Grant};
use crate::locks::Lockable;
use crate::session::Session;
use crate::snapshot::Wanted;
use crate::tools::{PgTools, ToolRun, conninfo_of_database};

/// The first pg_dump, and server, that can put statistics beside the schema.
const STATISTICS_SINCE: u32 = 18;

/// Whether the dump of that server by these programs holds statistics.
pub(crate) fn holds_statistics(tools: &PgTools, server_major: u32) -> bool {
    tools.major >= STATISTICS_SINCE && server_major >= STATISTICS_SINCE
}

/// A run of pg_dump in an exported snapshot.
pub(crate) struct Dump<'a> {
    pub tools: &'a PgTools,
    pub server_major: u32,
    /// What it shows itself as.
    pub application_name: &'a str,
    pub snapshot: &'a str,
    /// How long it waits for a lock.
    pub lock_timeout: Duration,
}

impl Dump<'_> {
    /// Runs it; what it writes is only ours to read (mode 0600).
    pub(crate) async fn run(
        &self,
        wanted: &Wanted,
        excluded: impl Iterator<Item = &Lockable>,
    ) -> Result<NamedTempFile, PostgresError> {
        let file = temporary_file()?;
        let endpoint = &wanted.endpoint;
        let name = self.application_name;
        let mut output = std::ffi::OsString::from("--file=");
        output.push(file.path());
        let lock_timeout = self.lock_timeout.as_millis();
        let mut run = ToolRun::new("pg_dump", &self.tools.pg_dump, endpoint, name)
            .arg("--format=custom")
            .arg("--no-sync")
            .arg("--no-password")
            .arg(format!("--snapshot={}", self.snapshot))
            .arg(format!("--lock-wait-timeout={lock_timeout}"))
            .arg(output);
        run = match holds_statistics(self.tools, self.server_major) {
            // pg_dump refuses --statistics beside --schema-only.
            true => run
                .arg("--no-data")
                .arg("--no-large-objects")
                .arg("--statistics"),
            false => run.arg("--schema-only"),
        };
        for table in excluded {
            run = run.arg(format!("--exclude-table={}", pattern(table)));
        }
        let database = conninfo_of_database(endpoint.database());
        let output = run.arg(format!("--dbname={database}")).run().await?;
        tell_warnings(&output.stderr, wanted.progress.as_ref());
        dump_time::fix(file.as_file()).map_err(|source| PostgresError::TemporaryFile {
            doing: "putting a fixed time into pg_dump's",
            source,
        })?;
        Ok(file)
    }
}

/// A temporary file that nobody else can read, removed when dropped.
pub(crate) fn temporary_file() -> Result<NamedTempFile, PostgresError> {
    NamedTempFile::new().map_err(|source| PostgresError::TemporaryFile {
        doing: "making one for the dictionary",
        source,
    })
}

/// A pattern of pg_dump that fits one table only: inside double quotes nothing is special.
fn pattern(table: &Lockable) -> String {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

/// pg_dump warns of what it leaves out: a person should know.
fn tell_warnings(stderr: &str, progress: &dyn Progress) {
    for line in stderr.lines() {
        if let Some((_, warning)) = line.split_once("warning: ") {
            progress.warning(format!("pg_dump: {warning}"));
        }
    }
}

/// Warns of what pg_dump leaves out without a word, because the role may not see it.
pub(crate) async fn tell_hidden(
    session: &Session,
    progress: &dyn Progress,
) -> Result<(), PostgresError> {
    let sql = include_str!("../sql/hidden_mappings_14.sql");
    let doing = "looking for user mappings that only a superuser sees";
    let rows = session.rows(sql, &[], doing).await?;
    let mappings: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if !mappings.is_empty() {
        progress.warning(format!(
            "the user mappings of {} are saved without their options (users, passwords), which PostgreSQL shows to superusers only: set them after a restore with ALTER USER MAPPING, or back up as a superuser",
            mappings.join(", ")
        ));
    }
    Ok(())
}

/// What pg_dump --schema-only leaves out about the database itself.
pub(crate) async fn database_facts(
    session: &Session,
    tools: &PgTools,
) -> Result<DatabaseFacts, PostgresError> {
    let doing = "reading the settings of the database";
    let sql = match session.major() {
        14 => include_str!("../sql/database_14.sql"),
        15 => include_str!("../sql/database_15.sql"),
        16 => include_str!("../sql/database_16.sql"),
        _ => include_str!("../sql/database_17.sql"),
    };
    let row = session.row(sql, &[], doing).await?;
    let sql = include_str!("../sql/database_settings_14.sql");
    let settings = session.rows(sql, &[], doing).await?;
    let sql = include_str!("../sql/database_labels_14.sql");
    let labels = session.rows(sql, &[], doing).await?;
    Ok(DatabaseFacts {
        version: FACTS_VERSION,
        name: row.get("name"),
        server_version_num: session.version_num(),
        server_version: session.version().to_owned(),
        dump_tool_major: tools.major,
        dump_holds_statistics: holds_statistics(tools, session.major()),
        encoding: row.get("encoding"),
        locale_provider: row.get("provider"),
        lc_collate: row.get("lc_collate"),
        lc_ctype: row.get("lc_ctype"),
        locale: row.get("locale"),
        icu_rules: row.get("icu_rules"),
        collation_version: row.get("collation_version"),
        owner: row.get("owner"),
        tablespace: row.get("tablespace"),
        comment: row.get("comment"),
        connection_limit: row.get("datconnlimit"),
        is_template: row.get("datistemplate"),
        allow_connections: row.get("datallowconn"),
        grants: grants(row.get("grants"))?,
        settings: settings.iter().filter_map(setting).collect(),
        security_labels: labels.iter().map(|row| (row.get(0), row.get(1))).collect(),
        needs: crate::restore::needs::read(session).await?,
    })
}

/// `parameter=value`, as `pg_db_role_setting` keeps it.
fn setting(row: &tokio_postgres::Row) -> Option<DatabaseSetting> {
    let text: String = row.get(1);
    let (parameter, value) = text.split_once('=')?;
    Some(DatabaseSetting {
        role: row.get(0),
        parameter: parameter.to_owned(),
        value: value.to_owned(),
    })
}

/// An access list that the server gave as JSON.
pub(crate) fn grants(json: Option<String>) -> Result<Option<Vec<Grant>>, PostgresError> {
    json.map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|e| PostgresError::Protocol {
            doing: "reading an access list".into(),
            what: e.to_string(),
        })
}
