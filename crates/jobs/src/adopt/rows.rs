//! From what a vault tells to the rows of a catalog. No IO is done here.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{
    AdoptedJob, AdoptedSaveset, Adoption, ChangedIn, Notes, Origin, SavesetRecord, SiteKeys,
};
use model::{
    BackupMechanism, ExecutionId, ExecutionStatus, JobDefinition, JobId, JobType, RunType,
    SavesetId, Selection, ServerExecutionId, SiteConnection, SiteDefinition, SiteId, SiteSecrets,
    SiteType,
};
use vault::Saveset;

use super::{AdoptRequest, Told};
use crate::build_on::changed_in;
use crate::run_backup::record_of;
use crate::safekeeping::{SavesetRow, SiteRows};
use crate::{JobsError, words};

/// Executions that left nothing in the vault since its newest copy of the catalog have taken numbers
/// that nobody here knows of. So many are left out: no number is ever given twice.
const UNKNOWN_EXECUTIONS: i64 = 1000;

/// Copies that a job keeps whose definition is lost, if it has no more: the default of new jobs.
const COPIES: u32 = 7;

/// A saveset that was found in the vault: what its manifest says.
pub(super) struct Found {
    record: SavesetRecord,
    pub(super) execution: ServerExecutionId,
    pub(super) site_type: SiteType,
    bytes_read: u64,
    notes: Notes,
    selection: Selection,
    base: Option<SavesetId>,
    changed_blocks: Vec<ChangedIn>,
}

impl Found {
    pub(super) fn of(saveset: &Saveset) -> Self {
        let contents = &saveset.manifest().contents;
        let databases = contents.databases.iter();
        let mut objects = Vec::new();
        for database in databases {
            objects.extend(database.selection.as_listed());
        }
        Found {
            record: record_of(saveset, &contents.site_id),
            execution: contents.execution,
            site_type: contents.site_type,
            bytes_read: contents.was_read(),
            notes: Notes {
                warnings: contents.warnings.clone(),
                skipped: contents.skipped.clone(),
            },
            selection: Selection { objects },
            base: contents.base,
            changed_blocks: changed_in(saveset),
        }
    }
}

/// The site to be.
pub(super) fn definition(request: &AdoptRequest, told: &Told) -> Result<SiteDefinition, JobsError> {
    let copy = told.copy.as_ref().map(|(_, rows)| &rows.site);
    let newest = told.found.values().next_back();
    let site_id = request
        .site_id
        .clone()
        .or_else(|| copy.map(|site| site.site_id.clone()))
        .or_else(|| newest.map(|found| found.record.site_id.clone()))
        .ok_or(JobsError::AdoptionNeeds("site_id"))?;
    let connection = request
        .connection
        .clone()
        .or_else(|| copy.map(|site| site.connection.clone()))
        .ok_or(JobsError::AdoptionNeeds("connection"))?;
    let site_type = match &connection {
        SiteConnection::Postgresql { .. } => SiteType::Postgresql,
        SiteConnection::Sqlite { .. } => SiteType::Sqlite,
    };
    let was = copy.map(|site| site.site_type);
    let was = was.or_else(|| newest.map(|found| found.site_type));
    if let Some(was) = was
        && was != site_type
    {
        return Err(JobsError::OtherKind {
            source_type: was,
            target_type: site_type,
        });
    }
    Ok(SiteDefinition {
        site_id,
        site_type,
        description: copy.and_then(|site| site.description.clone()),
        connection,
        vault: request.vault.clone(),
        soft_limit: copy.map_or(2, |site| site.soft_limit),
        hard_limit: copy.map_or(4, |site| site.hard_limit),
        max_snapshot_minutes: copy.map_or(0, |site| site.max_snapshot_minutes),
    })
}

/// Puts the rows together.
pub(super) struct Rows {
    definition: SiteDefinition,
    /// Sites that are on this server: restores into others cannot be run again.
    here: BTreeSet<SiteId>,
    /// Whether another server gave out the numbers.
    from_another: bool,
}

impl Rows {
    pub(super) fn new(
        definition: SiteDefinition,
        here: BTreeSet<SiteId>,
        from_another: bool,
    ) -> Self {
        Rows {
            definition,
            here,
            from_another,
        }
    }

    pub(super) fn adoption(
        self,
        told: &mut Told,
        secrets: SiteSecrets,
        keys: SiteKeys,
    ) -> Adoption {
        let savesets = savesets(told);
        let jobs = self.jobs(told, &savesets);
        let unknown = if self.from_another {
            UNKNOWN_EXECUTIONS
        } else {
            0
        };
        Adoption {
            definition: self.definition,
            secrets,
            keys,
            past_job: jobs.iter().map(|job| job.job_id.get()).max().unwrap_or(0),
            jobs,
            savesets,
            past_execution: told.highest_execution.saturating_add(unknown),
        }
    }

    /// The jobs of the copy, and those that only savesets tell of.
    fn jobs(&self, told: &mut Told, savesets: &[AdoptedSaveset]) -> Vec<AdoptedJob> {
        let mut jobs = BTreeMap::new();
        let mut left_out = 0;
        for row in told.copy.iter().flat_map(|(_, rows)| &rows.jobs) {
            match self.at_home(&row.definition, told.copy.as_ref().map(|(_, rows)| rows)) {
                Some(definition) => {
                    let job = AdoptedJob {
                        job_id: row.job_id,
                        definition,
                        is_deleted: false,
                    };
                    jobs.insert(row.job_id, job);
                }
                None => left_out += 1,
            }
        }
        if left_out > 0 {
            told.notes.push(format!(
                "{} into sites that are not on this server {} left out.",
                words::count(left_out, "restore job"),
                if left_out == 1 { "was" } else { "were" }
            ));
        }
        let copied = told.copy.as_ref().map(|(execution, _)| *execution);
        let mut lost: BTreeMap<JobId, u32> = BTreeMap::new();
        for saveset in savesets {
            let record = &saveset.record;
            if jobs.contains_key(&record.job_id) {
                continue;
            }
            *lost.entry(record.job_id).or_default() += 1;
        }
        for (job_id, copies) in lost {
            // Savesets are in ascending order: the newest knows best what the job was.
            let newest = savesets.iter().rfind(|s| s.record.job_id == job_id);
            let Some(newest) = newest else { continue };
            let selection = told.found[&newest.record.saveset_id].selection.clone();
            let is_deleted = copied.is_some_and(|copied| newest.record.execution_id <= copied);
            if !is_deleted {
                told.notes.push(format!(
                    "Job {job_id} ({}) was put together from its savesets: look at its settings.",
                    newest.record.job_name
                ));
            }
            let definition = lost_job(&newest.record.job_name, selection, copies.max(COPIES));
            let job = AdoptedJob {
                job_id,
                definition,
                is_deleted,
            };
            jobs.insert(job_id, job);
        }
        jobs.into_values().collect()
    }

    /// A job's definition as it is to be here; `None` if it restores into a site that is not here.
    fn at_home(
        &self,
        definition: &JobDefinition,
        rows: Option<&SiteRows>,
    ) -> Option<JobDefinition> {
        let mut definition = definition.clone();
        if let Some(restore) = &mut definition.restore {
            if rows.is_some_and(|rows| rows.site.site_id == restore.target_site) {
                restore.target_site = self.definition.site_id.clone();
            } else if !self.here.contains(&restore.target_site) {
                return None;
            }
        }
        Some(definition)
    }
}

/// The savesets, ascending, with the numbers that the newest copy of the catalog has for them.
fn savesets(told: &Told) -> Vec<AdoptedSaveset> {
    let copy = told.copy.as_ref().map(|(_, rows)| rows);
    let known: BTreeMap<_, _> = copy
        .into_iter()
        .flat_map(|rows| &rows.savesets)
        .map(|row| (row.saveset_id, row))
        .collect();
    let found = told.found.iter().map(|(id, found)| {
        let mut record = found.record.clone();
        // The copy is older than savesets that were committed since; their bases are in it, or beside
        // them.
        let parent = found.base.and_then(|base| execution_of(told, &known, base));
        let mut origin = Origin {
            parent_execution: parent,
            made_with: None,
        };
        if let Some(row) = known.get(id) {
            record.job_id = row.job_id;
            record.execution_id = row.execution_id;
            origin.parent_execution = row.parent_execution_id.or(parent);
            origin.made_with = row.made_with.clone();
            record.is_damaged = row.is_damaged;
        }
        record.is_retained = copy.is_some_and(|rows| rows.retained.contains(id));
        let clean = found.notes.warnings.is_empty() && found.notes.skipped.is_empty();
        AdoptedSaveset {
            attempt: found.execution.attempt,
            status: match clean {
                true => ExecutionStatus::Successful,
                false => ExecutionStatus::CompletedWithWarnings,
            },
            detail: told_by(record.execution_id, found),
            bytes_read: found.bytes_read,
            notes: found.notes.clone(),
            origin,
            changed_blocks: found.changed_blocks.clone(),
            record,
        }
    });
    found.collect()
}

/// The execution that made a saveset, by its number in the newest copy of the catalog.
fn execution_of(
    told: &Told,
    known: &BTreeMap<SavesetId, &SavesetRow>,
    saveset: SavesetId,
) -> Option<ExecutionId> {
    let row = known.get(&saveset).map(|row| row.execution_id);
    let found = || Some(told.found.get(&saveset)?.record.execution_id);
    row.or_else(found)
}

fn told_by(execution: ExecutionId, found: &Found) -> String {
    let made = found.execution;
    let saveset = found.record.saveset_id;
    if execution == made.execution {
        format!("Adopted from the vault with saveset {saveset}")
    } else {
        format!(
            "Adopted from the vault with saveset {saveset}; it was execution {made} where it ran"
        )
    }
}

/// A job of which only savesets are left. It keeps all of them until somebody says otherwise.
fn lost_job(name: &str, selection: Selection, copies: u32) -> JobDefinition {
    JobDefinition {
        name: name.to_owned(),
        description: Some("Put together from its savesets when the site was adopted".to_owned()),
        job_type: JobType::Backup,
        backup_type: RunType::Full,
        backup_mechanism: BackupMechanism::Dsa,
        is_active: true,
        priority: 5,
        no_of_retention_copies: copies,
        is_auto_abort_active: false,
        auto_abort_in_minutes: 0,
        online: true,
        continue_on_access_right_violation: false,
        selection,
        yield_to_ddl_seconds: 300,
        restore: None,
    }
}
