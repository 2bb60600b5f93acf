//! Manifests: a saveset's table of contents.

use model::{
    ChangedBlocks, ClosingFacts, DatabaseSelection, JobId, Moment, ObjectName, RunType, SavesetId,
    SavesetObject, ServerExecutionId, SiteId, SiteType, SkippedObject, TablePlan,
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
    /// Its name, unique in its database.
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

/// A table of a saved database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestTable {
    /// As the source planned it.
    pub plan: TablePlan,
    /// Its sheet; `None`: no rows and no blocks were read.
    pub sheet: Option<SheetRef>,
    /// Its rows.
    #[serde(rename = "row_count")]
    pub rows: u64,
    /// Bytes of its rows, unpacked.
    pub plain_bytes: u64,
    /// No row of it lies in this block or a later one; `None`: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u32>,
}

/// One database of a saveset, as one snapshot saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedDatabase {
    /// Its name, one part, unique in the saveset.
    pub name: ObjectName,
    /// What of it was asked for.
    pub selection: DatabaseSelection,
    /// When its snapshot was taken: each database of a saveset has its own.
    pub snapshot_time: Moment,
    /// Its dictionary.
    pub dictionary: Vec<BlobRef>,
    /// Its tables, in the order of the source's plan.
    pub tables: Vec<ManifestTable>,
    /// All its objects, those without rows too. An object's `table` is a place in `tables`.
    pub objects: Vec<SavesetObject>,
    /// What the source said at its end; only its engine understands it.
    pub facts: ClosingFacts,
    /// How a DELTA found what had changed in it; `None`: everything was read, and nothing compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_blocks: Option<ChangedBlocks>,
}

/// What a run gives to its saveset's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestDraft {
    /// FULL or DELTA.
    pub run_type: RunType,
    /// The saveset that a DELTA builds on. Informative: restoring never walks a chain.
    pub base: Option<SavesetId>,
    /// The job.
    pub job_id: JobId,
    /// Its name then.
    pub job_name: String,
    /// Execution and attempt.
    #[serde(rename = "server_execution_id")]
    pub execution: ServerExecutionId,
    /// The site.
    pub site_id: SiteId,
    /// Its kind.
    pub site_type: SiteType,
    /// The databases in the saveset, in the order in which they were read.
    pub databases: Vec<SavedDatabase>,
    /// When the attempt started.
    #[serde(rename = "start_time")]
    pub start: Moment,
    /// When the last row had been read.
    #[serde(rename = "end_time")]
    pub end: Moment,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What was left out, and why.
    pub skipped: Vec<SkippedObject>,
    /// Bytes that were read from the databases, unpacked: a DELTA reads less than it holds. `None`: not
    /// told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_read: Option<u64>,
}

/// A saveset's table of contents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of its format.
    pub format: u64,
    /// The release that wrote it. Informative.
    pub release: String,
    /// The saveset.
    pub saveset_id: SavesetId,
    /// Bytes of the packs that the run put.
    pub bytes_stored: u64,
    /// What is in it.
    pub contents: ManifestDraft,
}

impl SavedDatabase {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let mut names: Vec<&str> = self.dictionary.iter().map(|blob| &*blob.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!(
                "the dictionary of {name} has two parts {:?}",
                pair[0]
            ));
        }
        let past = |object: &&SavesetObject| object.table.is_some_and(|t| t >= self.tables.len());
        if let Some(object) = self.objects.iter().find(past) {
            return Err(format!(
                "{} of {name} names a table that is not listed",
                object.name
            ));
        }
        if self.selection.database != *name {
            return Err(format!(
                "the selection of {name} is about {}",
                self.selection.database
            ));
        }
        Ok(())
    }
}

impl ManifestDraft {
    /// The tables of all databases.
    pub fn tables(&self) -> impl Iterator<Item = &ManifestTable> {
        self.databases.iter().flat_map(|database| &database.tables)
    }

    /// The parts of all dictionaries.
    pub fn parts(&self) -> impl Iterator<Item = &BlobRef> {
        let databases = self.databases.iter();
        databases.flat_map(|database| &database.dictionary)
    }

    /// The objects of all databases.
    pub fn objects(&self) -> impl Iterator<Item = &SavesetObject> {
        self.databases.iter().flat_map(|database| &database.objects)
    }

    /// Bytes that were read for it, unpacked; where that is not told, all that it holds.
    pub fn was_read(&self) -> u64 {
        self.bytes_read.unwrap_or_else(|| {
            let rows = self.tables().map(|table| table.plain_bytes);
            rows.chain(self.parts().map(|part| part.plain_bytes)).sum()
        })
    }

    /// How a DELTA found what had changed, by database.
    pub fn changed_blocks(&self) -> impl Iterator<Item = (&ObjectName, &ChangedBlocks)> {
        let databases = self.databases.iter();
        databases.filter_map(|one| Some((&one.name, one.changed_blocks.as_ref()?)))
    }

    /// The place of the database of that name.
    pub fn place_of(&self, database: &ObjectName) -> Option<usize> {
        self.databases.iter().position(|one| one.name == *database)
    }

    /// Every run of frames that the manifest itself names.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &FrameRun> {
        let blobs = self.parts().flat_map(|blob| &blob.runs);
        let sheets = self.tables().filter_map(|table| table.sheet.as_ref());
        blobs.chain(sheets.flat_map(|sheet| &sheet.runs))
    }

    /// Bytes in the vault of everything that it refers to.
    pub(crate) fn bytes_referred(&self) -> u64 {
        let blobs = self.parts().map(|blob| blob.stored_bytes);
        let sheets = self.tables().filter_map(|table| table.sheet.as_ref());
        blobs.chain(sheets.map(|sheet| sheet.stored_bytes)).sum()
    }

    /// What must hold, beyond being JSON of the right form.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(run) = self.runs().find(|run| run.count == 0) {
            return Err(format!("it names a run of no frames in pack {}", run.pack));
        }
        let mut names: Vec<&ObjectName> = self.databases.iter().map(|one| &one.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("it has two databases {}", pair[0]));
        }
        self.databases.iter().try_for_each(SavedDatabase::check)
    }
}
