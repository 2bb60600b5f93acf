//! One database of a backup: its dictionary, its rows, and what follows them.

use std::sync::Arc;

use fail::fail_point;
use model::{
    ChangedBlocks, DatabaseSelection, DictionaryPart, Moment, Phase, Progress, Source, SourcePlan,
};
use tokio_util::sync::CancellationToken;
use vault::{BlobRef, ManifestTable, SavedDatabase};

use crate::FlowError;
use crate::collect::Collected;
use crate::delta::{Delta, NextTable, Planned};
use crate::error::Place;
use crate::seal::Sealer;
use crate::streams::{Reading, read_all};
use crate::supervise::off_the_runtime;

/// What saving one database needs beside its source.
pub(crate) struct OneDatabase<'a> {
    pub(crate) selection: &'a DatabaseSelection,
    pub(crate) snapshot_time: Moment,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) streams: usize,
    /// What a DELTA builds on.
    pub(crate) base: Option<Arc<Delta>>,
}

/// A database that was read.
pub(crate) struct Saved {
    pub(crate) database: SavedDatabase,
    /// As it was planned, without what went into `database`.
    pub(crate) plan: SourcePlan,
    /// Bytes of rows and dictionary that were read.
    pub(crate) bytes_read: u64,
}

impl OneDatabase<'_> {
    /// Reads and seals all of it. The source is closed when this answers; what is in the sealer's
    /// open pack is still to be put.
    pub(crate) async fn save(
        self,
        mut source: Box<dyn Source>,
        sealer: Sealer,
    ) -> Result<(Sealer, Saved), FlowError> {
        let progress = &self.progress;
        let (sealer, mut dictionary) = self.dictionary(&mut *source, sealer).await?;
        let mut plan = source
            .plan()
            .await
            .map_err(|fault| Place::within(Phase::Dictionary, "planning").fault(fault))?;
        let planned = match &self.base {
            Some(delta) => delta.plan(&mut plan).await?,
            None => Planned::whole(&mut plan),
        };
        fail_point!("flow::a-database-is-planned");
        progress.phase_done(Phase::Dictionary);

        let Planned { tables, tasks } = planned;
        let collected = Arc::new(Collected::begin(&plan, &tasks, progress.clone())?);
        let reading = Reading {
            tasks,
            delta: self.base.clone(),
            collected: collected.clone(),
            streams: self.streams,
        };
        let sealers = read_all(&mut *source, reading, sealer, self.cancel).await?;
        let (sealer, late) = self.late_dictionary(&mut *source, sealers).await?;
        dictionary.extend(late);
        let facts = source
            .finish()
            .await
            .map_err(|fault| Place::within(Phase::Data, "closing the source").fault(fault))?;
        fail_point!("flow::a-database-is-read");

        let mut next = Vec::with_capacity(tables.len());
        for ((from_base, read), table) in tables
            .into_iter()
            .zip(collected.gathered()?)
            .zip(&plan.tables)
        {
            let contradiction = || match &self.base {
                Some(delta) => delta.contradiction(&table.name),
                None => FlowError::Stopped,
            };
            next.push(from_base.table(read).ok_or_else(contradiction)?);
        }
        let (sealer, tables) = seal_sheets(sealer, &plan, next).await?;
        progress.phase_done(Phase::Data);
        let of_parts: u64 = dictionary.iter().map(|part| part.plain_bytes).sum();
        let saved = SavedDatabase {
            name: self.selection.database.clone(),
            selection: self.selection.clone(),
            snapshot_time: self.snapshot_time,
            dictionary,
            tables,
            objects: std::mem::take(&mut plan.objects),
            facts,
            changed_blocks: self.changed_blocks(&plan),
        };
        let saved = Saved {
            database: saved,
            plan,
            bytes_read: of_parts + collected.bytes_read(),
        };
        Ok((sealer, saved))
    }

    /// Without a base nothing was compared, whatever the source says.
    fn changed_blocks(&self, plan: &SourcePlan) -> Option<ChangedBlocks> {
        self.base.as_ref().and(plan.changed_blocks.clone())
    }

    async fn dictionary(
        &self,
        source: &mut dyn Source,
        sealer: Sealer,
    ) -> Result<(Sealer, Vec<BlobRef>), FlowError> {
        let place = || Place::within(Phase::Dictionary, "reading the dictionary");
        let parts = source.dictionary().await;
        let parts = parts.map_err(|fault| place().fault(fault))?;
        self.seal_parts(place(), parts, vec![sealer]).await
    }

    /// Puts the last packs of all streams but the first one, which goes on.
    async fn late_dictionary(
        &self,
        source: &mut dyn Source,
        sealers: Vec<Sealer>,
    ) -> Result<(Sealer, Vec<BlobRef>), FlowError> {
        let place = || Place::within(Phase::Data, "reading what follows the rows");
        let parts = source.late_dictionary().await;
        let parts = parts.map_err(|fault| place().fault(fault))?;
        self.seal_parts(place(), parts, sealers).await
    }

    async fn seal_parts(
        &self,
        place: Place,
        parts: Vec<DictionaryPart>,
        sealers: Vec<Sealer>,
    ) -> Result<(Sealer, Vec<BlobRef>), FlowError> {
        let progress = self.progress.clone();
        let base = self.base.clone();
        off_the_runtime(place, move || {
            let mut sealers = sealers.into_iter();
            let mut sealer = sealers.next().ok_or(FlowError::Stopped)?;
            for mut other in sealers {
                let flushed = other.flush();
                flushed
                    .map_err(|error| Place::within(Phase::Data, "putting a pack").fault(error))?;
            }
            let mut sealed = Vec::with_capacity(parts.len());
            for part in parts {
                let base = base.as_deref().and_then(|delta| delta.part(&part.name));
                sealed.push(sealer.part(part, base, &*progress)?);
            }
            Ok((sealer, sealed))
        })
        .await
    }
}

/// Seals the sheets behind everything else.
async fn seal_sheets(
    mut sealer: Sealer,
    plan: &SourcePlan,
    next: Vec<NextTable>,
) -> Result<(Sealer, Vec<ManifestTable>), FlowError> {
    let plans = plan.tables.clone();
    off_the_runtime(Place::outside("sealing the sheets"), move || {
        let mut tables = Vec::with_capacity(plans.len());
        for (plan, next) in plans.into_iter().zip(next) {
            tables.push(match next {
                NextTable::Same(before) => ManifestTable { plan, ..before },
                NextTable::Own { sheet, size, end } => {
                    let name = plan.name.to_string();
                    let place = || Place::named(Phase::Data, "sealing the sheet of", &name);
                    let sealed = sheet.map(|sheet| sealer.sheet(&sheet, size)).transpose();
                    ManifestTable {
                        sheet: sealed.map_err(|error| place().fault(error))?,
                        rows: size.rows,
                        plain_bytes: size.plain_bytes,
                        end: Some(end),
                        plan,
                    }
                }
            });
        }
        Ok((sealer, tables))
    })
    .await
}
