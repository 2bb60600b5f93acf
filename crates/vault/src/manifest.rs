//! Manifests: a saveset's table of contents.

use model::{
    ClosingFacts, JobId, Moment, ObjectName, RunType, SavesetId, SavesetObject, ServerExecutionId,
    SiteId, SiteType, SkippedObject, TablePlan,
};
use serde::{Deserialize, Serialize};

use crate::{ContentHash, FrameRun, SheetRef};

/// The version of the manifests written here.
pub(crate) const MANIFEST_FORMAT: u64 = 1;

/// The JSON of a manifest is at most this long.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// A named part of the dictionary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// Its name, unique in the saveset.
    pub name: String,
    /// Its frames, in their order; none if it is empty.
    pub runs: Vec<FrameRun>,
    /// Its bytes, unpacked.
    pub plain_bytes: u64,
    /// Its bytes in the vault.
    pub stored_bytes: u64,
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
}

/// A table of the saveset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestTable {
    /// As the source planned it.
    pub plan: TablePlan,
    /// Its sheet; `None`: no rows and no blocks were read.
    pub sheet: Option<SheetRef>,
    /// Its rows.
    pub rows: u64,
    /// Bytes of its rows, unpacked.
    pub plain_bytes: u64,
}

/// What a run gives to its saveset's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestDraft {
    /// FULL or DELTA.
    pub run_type: RunType,
    /// The saveset that a DELTA builds on. Informative: restoring never walks a chain.
    pub parent: Option<SavesetId>,
    /// The job.
    pub job_id: JobId,
    /// Its name then.
    pub job_name: String,
    /// Execution and attempt.
    pub execution: ServerExecutionId,
    /// The site.
    pub site_id: SiteId,
    /// Its kind.
    pub site_type: SiteType,
    /// The databases in the saveset.
    pub databases: Vec<ObjectName>,
    /// When the attempt started.
    pub start: Moment,
    /// When the last row had been read.
    pub end: Moment,
    /// The dictionary.
    pub dictionary: Vec<BlobRef>,
    /// The tables, in the order of the source's plan.
    pub tables: Vec<ManifestTable>,
    /// All objects, those without rows too.
    pub objects: Vec<SavesetObject>,
    /// What the source said at its end; only its engine understands it.
    pub facts: ClosingFacts,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What was left out, and why.
    pub skipped: Vec<SkippedObject>,
}

/// A saveset's table of contents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of its format.
    pub format: u64,
    /// The saveset.
    pub saveset_id: SavesetId,
    /// Bytes of the packs that the run put.
    pub bytes_stored: u64,
    /// What is in it.
    pub contents: ManifestDraft,
}

impl ManifestDraft {
    /// Every run of frames that the manifest itself names.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &FrameRun> {
        let blobs = self.dictionary.iter().flat_map(|blob| &blob.runs);
        let sheets = self.tables.iter().filter_map(|table| table.sheet.as_ref());
        blobs.chain(sheets.flat_map(|sheet| &sheet.runs))
    }

    /// Bytes in the vault of everything that it refers to.
    pub(crate) fn bytes_referred(&self) -> u64 {
        let blobs = self.dictionary.iter().map(|blob| blob.stored_bytes);
        let sheets = self.tables.iter().filter_map(|table| table.sheet.as_ref());
        blobs.chain(sheets.map(|sheet| sheet.stored_bytes)).sum()
    }

    /// What must hold, beyond being JSON of the right form.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(run) = self.runs().find(|run| run.count == 0) {
            return Err(format!("it names a run of no frames in pack {}", run.pack));
        }
        let mut names: Vec<&str> = self.dictionary.iter().map(|blob| &*blob.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the dictionary has two parts {:?}", pair[0]));
        }
        let past = |object: &&SavesetObject| object.table.is_some_and(|t| t >= self.tables.len());
        if let Some(object) = self.objects.iter().find(past) {
            return Err(format!("{} names a table that is not listed", object.name));
        }
        Ok(())
    }
}
