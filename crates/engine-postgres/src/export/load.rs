//! DATA: one stream's loader. A range of a table is appended to its file.

use std::sync::Arc;

use async_trait::async_trait;
use model::{LoadTask, Outcome, RowStream, SegmentLoader};

use super::fault::{ExportError, blocking};
use super::rows::TableFile;

pub(super) struct FileLoader {
    tables: Arc<Vec<Option<TableFile>>>,
}

impl FileLoader {
    pub(super) fn new(tables: Arc<Vec<Option<TableFile>>>) -> Self {
        FileLoader { tables }
    }
}

#[async_trait]
impl SegmentLoader for FileLoader {
    async fn load(&mut self, task: &LoadTask, rows: &mut dyn RowStream) -> Outcome<u64> {
        let no_table = ExportError::Order { step: "a table" };
        let table = self.tables.get(task.table).ok_or(no_table)?;
        let Some(table) = table else {
            // A partition whose chosen table turned out to be another one: it was sent in vain.
            while rows.next().await?.is_some() {}
            return Ok(task.rows);
        };
        let _turn = table.turn.lock().await;
        let mut range = table.open()?;
        while let Some(piece) = rows.next().await? {
            let write = move || range.take(&piece).map(|()| range);
            range = blocking(write).await?;
        }
        Ok(blocking(move || range.finish()).await?)
    }
}
