//! The cluster's roles, memberships and tablespaces: pg_dumpall, without passwords.

use tempfile::NamedTempFile;

use crate::dictionary::temporary_file;
use crate::error::PostgresError;
use crate::snapshot::Wanted;
use crate::tools::{PgTools, ToolRun, conninfo_of_database};

/// Runs pg_dumpall. `None`, with a note, where the role may not read what it needs.
pub(crate) async fn dump(
    wanted: &Wanted,
    tools: &PgTools,
) -> Result<Option<NamedTempFile>, PostgresError> {
    let file = temporary_file()?;
    let endpoint = &wanted.endpoint;
    let name = "pg_dumpall";
    let mut argument = std::ffi::OsString::from("--file=");
    argument.push(file.path());
    let run = ToolRun::new(name, &tools.pg_dumpall, endpoint, &wanted.application_name)
        .arg("--globals-only")
        .arg("--no-role-passwords")
        .arg("--no-sync")
        .arg("--no-password")
        .arg(argument)
        // A name with `=` in it would be taken for connection settings.
        .arg(format!(
            "--database={}",
            conninfo_of_database(endpoint.database())
        ));
    match run.run().await {
        Ok(_) => Ok(Some(file)),
        Err(PostgresError::ToolFailed { stderr, .. }) if stderr.contains("permission denied") => {
            wanted.progress.note(format!(
                "roles and tablespaces of the server are not in the saveset, because the role {} may not read them: {}",
                endpoint.user(),
                stderr.trim()
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
