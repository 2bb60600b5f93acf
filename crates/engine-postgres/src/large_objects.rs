//! Large objects: their bytes are read as rows of `pg_largeobject` (`lo_get` needs rights that
//! reading roles do not have); here is what they are beside their bytes.

use std::io::Write;

use futures::TryStreamExt;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::dictionary::{grants, temporary_file};
use crate::error::PostgresError;
use crate::facts::LargeObjectFacts;
use crate::session::Session;

/// Writes owner, grants, comment and labels of each, one JSON object a line, ordered by OID. There may be
/// millions: they go through one by one.
pub(crate) async fn facts(session: &Session) -> Result<NamedTempFile, PostgresError> {
    let doing = "reading large objects";
    let sql = include_str!("../sql/large_objects_14.sql");
    let mut file = temporary_file()?;
    let none: [&(dyn tokio_postgres::types::ToSql + Sync); 0] = [];
    let rows = session.raw()?.query_raw(sql, none).await;
    let rows = rows.map_err(PostgresError::query(doing))?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await.map_err(PostgresError::query(doing))? {
        let facts = LargeObjectFacts {
            oid: row.get(0),
            owner: row.get(1),
            grants: grants(row.get(2))?,
            comment: row.get(3),
            security_labels: labels(row.get(4))?,
        };
        write_line(&mut file, &facts)?;
    }
    file.flush().map_err(failed)?;
    Ok(file)
}

fn labels(json: Option<String>) -> Result<Vec<(String, String)>, PostgresError> {
    let labels = json.map(|json| serde_json::from_str(&json)).transpose();
    let labels = labels.map_err(|e| PostgresError::Protocol {
        doing: "reading the labels of a large object".into(),
        what: e.to_string(),
    })?;
    Ok(labels.unwrap_or_default())
}

/// Appends one value as a line of JSON.
pub(crate) fn write_line(
    file: &mut NamedTempFile,
    value: &impl Serialize,
) -> Result<(), PostgresError> {
    let mut line = serde_json::to_vec(value).map_err(|e| failed(e.into()))?;
    line.push(b'\n');
    // Buffering is the operating system's: lines are short, and there is no hurry.
    file.write_all(&line).map_err(failed)
}

fn failed(source: std::io::Error) -> PostgresError {
    PostgresError::TemporaryFile {
        doing: "writing facts",
        source,
    }
}
