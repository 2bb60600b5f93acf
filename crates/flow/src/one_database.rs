//! One database of a backup: its dictionary, its rows, and what follows them.

use std::sync::Arc;

use model::{DatabaseSelection, Moment, Phase, Progress, Source, SourcePlan};
use tokio_util::sync::CancellationToken;
use vault::{BlobRef, ManifestTable, SavedDatabase, TableSheet};

use crate::FlowError;
use crate::error::Place;
use crate::seal::Sealer;
use crate::streams::read_all;
use crate::supervise::off_the_runtime;

/// What saving one database needs beside its source.
pub(crate) struct OneDatabase<'a> {
    pub(crate) selection: &'a DatabaseSelection,
    pub(crate) snapshot_time: Moment,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) streams: usize,
}

impl OneDatabase<'_> {
    /// Reads and seals all of it. The source is closed when this answers; what is in the sealer's
    /// open pack is still to be put.
    pub(crate) async fn save(
        self,
        mut source: Box<dyn Source>,
        sealer: Sealer,
    ) -> Result<(Sealer, SavedDatabase), FlowError> {
        let progress = &self.progress;
        let (sealer, mut dictionary) = self.dictionary(&mut *source, sealer).await?;
        let mut plan = source
            .plan()
            .await
            .map_err(|fault| Place::within(Phase::Dictionary, "planning").fault(fault))?;
        progress.phase_done(Phase::Dictionary);

        let reading = read_all(
            &mut *source,
            &mut plan,
            sealer,
            self.streams,
            self.cancel,
            progress.clone(),
        );
        let (sheets, sealers) = reading.await?;
        let (sealer, late) = self.late_dictionary(&mut *source, sealers).await?;
        dictionary.extend(late);
        let facts = source
            .finish()
            .await
            .map_err(|fault| Place::within(Phase::Data, "closing the source").fault(fault))?;

        let (sealer, tables) = seal_sheets(sealer, &plan, sheets).await?;
        progress.phase_done(Phase::Data);
        let saved = SavedDatabase {
            name: self.selection.database.clone(),
            selection: self.selection.clone(),
            snapshot_time: self.snapshot_time,
            dictionary,
            tables,
            objects: plan.objects,
            facts,
            changed_blocks: plan.changed_blocks,
        };
        Ok((sealer, saved))
    }

    async fn dictionary(
        &self,
        source: &mut dyn Source,
        mut sealer: Sealer,
    ) -> Result<(Sealer, Vec<BlobRef>), FlowError> {
        let place = || Place::within(Phase::Dictionary, "reading the dictionary");
        let parts = source.dictionary().await;
        let parts = parts.map_err(|fault| place().fault(fault))?;
        let progress = self.progress.clone();
        off_the_runtime(place(), move || {
            let sealed = parts.into_iter().map(|part| sealer.part(part, &*progress));
            let sealed = sealed.collect::<Result<_, _>>()?;
            Ok((sealer, sealed))
        })
        .await
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
        let progress = self.progress.clone();
        off_the_runtime(place(), move || {
            let mut sealers = sealers.into_iter();
            let mut sealer = sealers.next().ok_or(FlowError::Stopped)?;
            for mut other in sealers {
                let flushed = other.flush();
                flushed
                    .map_err(|error| Place::within(Phase::Data, "putting a pack").fault(error))?;
            }
            let sealed = parts.into_iter().map(|part| sealer.part(part, &*progress));
            let sealed = sealed.collect::<Result<_, _>>()?;
            Ok((sealer, sealed))
        })
        .await
    }
}

/// Seals the sheets behind everything else.
async fn seal_sheets(
    mut sealer: Sealer,
    plan: &SourcePlan,
    sheets: Vec<Option<TableSheet>>,
) -> Result<(Sealer, Vec<ManifestTable>), FlowError> {
    let plans = plan.tables.clone();
    off_the_runtime(Place::outside("sealing the sheets"), move || {
        let mut tables = Vec::with_capacity(plans.len());
        for (plan, sheet) in plans.into_iter().zip(sheets) {
            let name = plan.name.to_string();
            let place = || Place::named(Phase::Data, "sealing the sheet of", &name);
            let sealed = sheet.as_ref().map(|sheet| sealer.sheet(sheet)).transpose();
            let sealed = sealed.map_err(|error| place().fault(error))?;
            tables.push(ManifestTable {
                rows: sealed.as_ref().map_or(0, |sheet| sheet.rows),
                plain_bytes: sealed.as_ref().map_or(0, |sheet| sheet.plain_bytes),
                sheet: sealed,
                plan,
            });
        }
        Ok((sealer, tables))
    })
    .await
}
