//! Values of sequences, read after the rows and from each sequence itself: then no row has a
//! number that its sequence will give again. (`pg_sequences` waits behind an open ALTER SEQUENCE.)

use std::io::Write;
use std::time::Duration;

use model::Progress;
use tempfile::NamedTempFile;

use crate::chosen::Taken;
use crate::dictionary::temporary_file;
use crate::error::PostgresError;
use crate::facts::SequenceFacts;
use crate::inventory::{Oid, quoted};
use crate::locks;
use crate::session::Session;

/// Sequences in one statement.
const BATCH: usize = 200;

/// How often one that is locked is tried again.
const TRIES: u32 = 20;

/// A sequence as the snapshot sees it.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    oid: Oid,
    schema: String,
    name: String,
    readable: bool,
}

impl Sequence {
    /// Whether the role may read its value.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Its schema and its name.
    pub(crate) fn parts(&self) -> (&str, &str) {
        (&self.schema, &self.name)
    }

    /// As an error or a warning names it.
    pub(crate) fn qualified(&self) -> String {
        model::ObjectName::two(&self.schema, &self.name).to_string()
    }

    fn query(&self, place: usize) -> String {
        format!(
            "SELECT {place}::pg_catalog.int4, last_value, is_called FROM {}.{}",
            quoted(&self.schema),
            quoted(&self.name)
        )
    }
}

/// Lists the chosen sequences in the session's transaction.
pub(crate) async fn list(session: &Session, taken: &Taken) -> Result<Vec<Sequence>, PostgresError> {
    let sql = include_str!("../sql/sequences_14.sql");
    let rows = session.rows(sql, &[], "listing the sequences").await?;
    let sequences = rows.iter().map(|row| Sequence {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        readable: row.get(3),
    });
    Ok(sequences
        .filter(|sequence| taken.has(sequence.oid))
        .collect())
}

/// Reads the values into a file, one JSON object a line. The session is in no transaction.
pub(crate) async fn read(
    session: &Session,
    sequences: &[Sequence],
    progress: &dyn Progress,
) -> Result<NamedTempFile, PostgresError> {
    let doing = "reading sequences";
    let mut file = temporary_file()?;
    let timeout = locks::lock_timeout(session).await?;
    let limit = format!("SET lock_timeout = {}", timeout.as_millis());
    session.run(&limit, doing).await?;
    for batch in sequences.chunks(BATCH) {
        match read_batch(session, batch).await {
            Ok(values) => write(&mut file, &values)?,
            // One of them is locked or gone: then one after the other.
            Err(error) if locks::is_passing(&error) => {
                for sequence in batch {
                    let values = read_one(session, sequence, progress).await?;
                    write(&mut file, &values)?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    session.run("SET lock_timeout = 0", doing).await?;
    Ok(file)
}

async fn read_batch(
    session: &Session,
    batch: &[Sequence],
) -> Result<Vec<SequenceFacts>, PostgresError> {
    let parts: Vec<String> = batch.iter().enumerate().map(|(i, s)| s.query(i)).collect();
    let sql = parts.join(" UNION ALL ");
    let rows = session.rows(&sql, &[], "reading sequences").await?;
    let facts = rows.iter().filter_map(|row| {
        let place = usize::try_from(row.get::<_, i32>(0)).ok()?;
        let sequence = batch.get(place)?;
        Some(SequenceFacts {
            schema: sequence.schema.clone(),
            name: sequence.name.clone(),
            last_value: row.get(1),
            is_called: row.get(2),
        })
    });
    Ok(facts.collect())
}

async fn read_one(
    session: &Session,
    sequence: &Sequence,
    progress: &dyn Progress,
) -> Result<Vec<SequenceFacts>, PostgresError> {
    let one = std::slice::from_ref(sequence);
    for _ in 0..TRIES {
        match read_batch(session, one).await {
            Err(error) if error.is_lock_timeout() => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) if error.is_gone() => return gone(session, sequence, progress).await,
            answer => return answer,
        }
    }
    let name = sequence.qualified();
    Err(PostgresError::Locked {
        seconds: u64::from(TRIES) / 2,
        holders: format!("somebody holds ACCESS EXCLUSIVE on the sequence {name}"),
    })
}

/// Dropped since the snapshot: nobody can use its numbers any more. Renamed: everything is read
/// anew, because names are what the saveset knows it by.
async fn gone(
    session: &Session,
    sequence: &Sequence,
    progress: &dyn Progress,
) -> Result<Vec<SequenceFacts>, PostgresError> {
    let name = sequence.qualified();
    let names = crate::inventory::names_of(session, &[sequence.oid]).await?;
    if let Some((schema, new_name)) = names.get(&sequence.oid) {
        return Err(PostgresError::CatalogChanged {
            what: format!("the sequence {name} is named {schema}.{new_name} now"),
        });
    }
    progress.note(format!(
        "the sequence {name} was dropped while the backup ran: it is restored with its first value"
    ));
    Ok(Vec::new())
}

fn write(file: &mut NamedTempFile, values: &[SequenceFacts]) -> Result<(), PostgresError> {
    for value in values {
        crate::large_objects::write_line(file, value)?;
    }
    file.flush().map_err(|source| PostgresError::TemporaryFile {
        doing: "writing sequences",
        source,
    })
}
