//! A saved database's dictionary, as a target reads it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use model::{DictionaryReader, Outcome, Phase, Progress};
use vault::Saveset;

use crate::FlowError;
use crate::error::Place;

/// Reads the parts out of the vault, and counts them.
pub(crate) struct SavesetDictionary {
    saveset: Saveset,
    /// The place of the database in it.
    database: usize,
    progress: Arc<dyn Progress>,
    bytes_read: Arc<AtomicU64>,
}

impl SavesetDictionary {
    pub(crate) fn new(
        saveset: Saveset,
        database: usize,
        progress: Arc<dyn Progress>,
        bytes_read: Arc<AtomicU64>,
    ) -> Self {
        SavesetDictionary {
            saveset,
            database,
            progress,
            bytes_read,
        }
    }
}

#[async_trait]
impl DictionaryReader for SavesetDictionary {
    fn parts(&self) -> Vec<String> {
        let parts = self.saveset.databases()[self.database].dictionary.iter();
        parts.map(|part| part.name.clone()).collect()
    }

    async fn write_to(&self, part: &str, sink: &mut (dyn Write + Send)) -> Outcome<bool> {
        let Some(mut reader) = self.saveset.blob(self.database, part) else {
            return Ok(false);
        };
        let place = |doing| Place::named(Phase::Dictionary, doing, part);
        loop {
            let frame = reader.next().await;
            let Some(frame) = frame.map_err(|error| place("reading").fault(error))? else {
                break;
            };
            self.progress.bytes(Phase::Dictionary, frame.len() as u64);
            sink.write_all(&frame).map_err(|error| FlowError::Io {
                place: place("writing down"),
                error,
            })?;
        }
        let stored = reader.stored_bytes();
        self.bytes_read.fetch_add(stored, Ordering::Relaxed);
        Ok(true)
    }
}
