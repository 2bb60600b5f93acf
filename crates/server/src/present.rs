//! What the catalog keeps, as the contract shows it.

use catalog::{JobRecord, Notes, PhaseRecord, SavesetRecord, SiteRecord, changed_blocks_source};
use contract::{
    ChangedBlocksOfDatabase, Concerned, DamagedObject, Execution, ExecutionPhase, Job, JobSettings,
    LastExecutionDetails, ListedJob, ListedObject, OneExecution, READ_ONLY, Saveset, Site, Skipped,
    Verification, site_target_type,
};
use model::{BrowsedObject, Moment, Phase};

pub(crate) fn site(record: &SiteRecord) -> Site {
    Site::of(&record.definition, record.has_password, record.created_at)
}

pub(crate) fn listed_job(record: &JobRecord, site: &SiteRecord) -> ListedJob {
    let last = record
        .last_execution
        .as_ref()
        .map(|last| LastExecutionDetails {
            end_time: last.end_time,
            start_time: last.start_time,
            status: last.status,
            backup_set_size: last.backup_set_size,
            backup_job_id: last.backup_job_id.map(|id| id.get()),
            backup_job_execution_id: last.backup_job_execution_id.map(|id| id.get()),
            restore_execution_id: last.restore_execution_id.map(|id| id.get()),
        });
    let place = site_target_type(&site.definition.vault);
    ListedJob::of(
        &record.site_id,
        record.job_id,
        &record.definition,
        place,
        last,
    )
}

pub(crate) fn job(record: &JobRecord, site: &SiteRecord) -> Job {
    Job {
        listed: listed_job(record, site),
        job_settings: JobSettings::of(&record.definition),
        target_site: record
            .definition
            .restore
            .as_ref()
            .map(|r| r.target_site.clone()),
        created_at: record.created_at,
    }
}

pub(crate) fn execution(record: &catalog::Execution) -> Execution {
    Execution {
        site_id: record.site_id.clone(),
        target_site: record.target_site.clone(),
        job_id: record.job_id,
        job_name: record.job_name.clone(),
        backup_mechanism: record.backup_mechanism,
        job_type: record.job_type,
        execution_id: record.execution_id,
        execution_name: record
            .start_time
            .map(|start| format!("{} {}", record.job_name, start.to_the_second())),
        start_time: record.start_time,
        end_time: record.end_time,
        backup_set_size: record.backup_set_size,
        server_execution_id: record.server_execution_id(),
        parent_execution_id: record.parent_execution,
        status: record.status,
        saveset_replication_status: None,
        is_saveset_retained: record.is_saveset_retained,
        is_saveset_deleted: record.is_saveset_deleted,
        saveset_id: record.saveset_id,
        run_type: record.run_type,
        site_type: record.site_type,
        status_detail: record.status_detail.clone(),
    }
}

pub(crate) fn one_execution(
    record: &catalog::Execution,
    notes: Notes,
    now: Moment,
) -> OneExecution {
    OneExecution {
        execution: execution(record),
        phases: record
            .phases
            .iter()
            .map(|p| phase(p, record, now))
            .collect(),
        warnings: notes.warnings,
        skipped_objects: notes
            .skipped
            .into_iter()
            .map(|skipped| Skipped {
                object: skipped.object,
                reason: skipped.reason,
            })
            .collect(),
        bytes_read: record.bytes_read,
        bytes_stored: record.bytes_stored,
        changed_blocks_source: changed_blocks_source(&record.changed_blocks),
    }
}

fn phase(record: &PhaseRecord, of: &catalog::Execution, now: Moment) -> ExecutionPhase {
    ExecutionPhase {
        phase: record.phase,
        status: record.status,
        objects_done: record.objects_done,
        objects_total: record.objects_total,
        bytes: record.bytes,
        start_time: Some(record.start_time),
        end_time: record.end_time,
        bytes_per_second: ExecutionPhase::speed(
            record.bytes,
            Some(record.start_time),
            record.end_time,
            now,
        ),
        databases: match record.phase {
            Phase::Data => of
                .changed_blocks
                .iter()
                .map(|one| ChangedBlocksOfDatabase::of(&one.database, &one.found))
                .collect(),
            _ => Vec::new(),
        },
    }
}

pub(crate) fn saveset(record: &SavesetRecord) -> Saveset {
    Saveset {
        saveset_id: record.saveset_id,
        job_id: record.job_id,
        execution_id: record.execution_id,
        run_type: record.run_type,
        start_time: record.start_time,
        end_time: record.end_time,
        backup_set_size: record.backup_set_size,
        bytes_stored: record.bytes_stored,
        is_saveset_retained: record.is_retained,
        is_saveset_damaged: record.is_damaged,
        verification: record.verification.as_ref().map(verification),
    }
}

fn verification(record: &catalog::Verification) -> Verification {
    Verification {
        status: record.status.to_string(),
        method: READ_ONLY.to_owned(),
        thorough: record.thorough,
        asked_time: record.asked_at,
        start_time: record.start_time,
        end_time: record.end_time,
        bytes: record.bytes_done,
        bytes_total: record.bytes_total,
        damaged: record.damaged.iter().map(damaged_object).collect(),
        damaged_count: record.damaged_count,
        detail: record.detail.clone(),
    }
}

fn damaged_object(found: &catalog::DamagedObject) -> DamagedObject {
    let concerns = found.concerns.iter().map(|concerned| Concerned {
        kind: concerned.kind.clone(),
        database: concerned.database.clone(),
        object_name: concerned.name.clone(),
        rows: concerned.rows,
        detail: concerned.text.clone(),
    });
    DamagedObject {
        object: found.object.clone(),
        frame: found.frame,
        what: found.what.clone(),
        concerns: concerns.collect(),
    }
}

pub(crate) fn saved_object(object: &jobs::ListedObject) -> ListedObject {
    ListedObject::of(
        &object.name,
        object.object_type,
        &object.parent_name,
        object.parent_type,
        object.byte_count,
    )
}

pub(crate) fn live_object(object: &BrowsedObject) -> ListedObject {
    ListedObject::of(
        &object.name,
        object.object_type,
        &object.parent_name,
        object.parent_type,
        object.byte_count,
    )
}
