//! Reads jobs: POST, PUT and PATCH become a valid definition, or a refusal that names the field.

use model::{BackupMechanism, JobDefinition, JobType, RunType, SiteType};
use serde_json::Value;

use crate::fields::Fields;
use crate::objects::{AskedObject, can_be_saved, parse_objects, selection_of};
use crate::quirks::{
    SITE_TARGET_TYPE, SKIP_STATISTICS, SKIP_STATISTICS_RIGHTLY, TARGET_SITE_DETAILS,
    skip_statistics,
};
use crate::{Job, JobSettings, Refusal, words};

pub(crate) const YIELD_TO_DDL_SECONDS: u32 = 300;
pub(crate) const RETENTION_COPIES: u32 = 7;
const LOWEST_PRIORITY: u32 = 5;
const LONGEST_NAME: usize = 255;

pub(crate) const KNOWN: &[&str] = &[
    "name",
    "description",
    "job_type",
    "backup_type",
    "backup_mechanism",
    "is_active",
    "priority",
    "no_of_retention_copies",
    "is_auto_abort_active",
    "auto_abort_in_minutes",
    TARGET_SITE_DETAILS,
    "job_settings",
];
pub(crate) const READ_ONLY: &[&str] = &[
    "site_id",
    "job_id",
    "last_execution_details",
    "next_run_time",
    SITE_TARGET_TYPE,
    "target_site",
    "created_at",
];
pub(crate) const SETTINGS: &[&str] = &[
    "online",
    "objects",
    "continue_job_on_access_right_violation",
    "run_as_a_copy_job",
    "restore_to_a_different_database_on_target_site",
    SKIP_STATISTICS,
    SKIP_STATISTICS_RIGHTLY,
    "skip_join_or_hash_indexes",
    "replace_existing",
    "retained_copy",
    "yield_to_ddl_seconds",
];
pub(crate) const TARGET: &[&str] = &[
    "target_site_id",
    "target_retention_copies_count",
    "target_retention_source",
];

/// Reads the body of POST `/sites/{site_id}/jobs`, for a site of that type.
///
/// # Errors
/// The first field that cannot be.
pub fn parse_job(body: &Value, site_type: SiteType) -> Result<JobDefinition, Refusal> {
    parse_backup(&Fields::of(body, "", KNOWN, &[])?, site_type)
}

/// Reads the body of PUT `/sites/{site_id}/jobs/{job_id}`: what a GET gave is taken back.
/// `current` is the job as a GET answers it, `definition` as it is kept.
///
/// # Errors
/// The first field that cannot be; also a job_type that is not the job's, and settings of a
/// RESTORE job that differ from those it was made with.
pub fn replace_job(
    body: &Value,
    site_type: SiteType,
    definition: &JobDefinition,
    current: &JobSettings,
) -> Result<JobDefinition, Refusal> {
    let fields = Fields::of(body, "", KNOWN, READ_ONLY)?;
    let job_type = job_type(&fields)?;
    if job_type != definition.job_type {
        let why = format!(
            "must be {}: a job's type never changes",
            definition.job_type
        );
        return Err(fields.wrong("job_type", why));
    }
    match job_type {
        JobType::Backup => parse_backup(&fields, site_type),
        JobType::Restore => replace_restore(&fields, definition, current),
    }
}

/// Reads the body of PATCH `/sites/{site_id}/jobs/{job_id}`: a merge patch (RFC 7396) on `current`,
/// the job as a GET answers it. A field that is null takes its default.
///
/// # Errors
/// As [`replace_job`], for the job that would result.
pub fn patch_job(
    body: &Value,
    site_type: SiteType,
    definition: &JobDefinition,
    current: &Job,
) -> Result<JobDefinition, Refusal> {
    // Only to refuse what is no object, or has a field that is not known.
    Fields::of(body, "", KNOWN, READ_ONLY)?;
    let mut merged = serde_json::to_value(current).map_err(|fault| {
        Refusal::invalid("body", format!("cannot be merged into the job: {fault}"))
    })?;
    merge(&mut merged, body);
    replace_job(&merged, site_type, definition, &current.job_settings)
}

fn merge(target: &mut Value, patch: &Value) {
    let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) else {
        *target = patch.clone();
        return;
    };
    for (key, value) in patch {
        match target.get_mut(key) {
            Some(_) if value.is_null() => {
                target.remove(key);
            }
            Some(old) => merge(old, value),
            // Also a null: a name that is not known must not vanish unseen.
            None => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

fn job_type(fields: &Fields<'_>) -> Result<JobType, Refusal> {
    fields.required("job_type")?;
    let word = fields.word("job_type", &words::all::<JobType>())?;
    word.ok_or_else(|| Refusal::MissingField {
        field: fields.way("job_type"),
    })
}

/// What every job has, whatever it does.
pub(crate) struct General {
    pub name: String,
    pub description: Option<String>,
    pub is_active: bool,
    pub priority: u8,
    pub no_of_retention_copies: u32,
    pub is_auto_abort_active: bool,
    pub auto_abort_in_minutes: u32,
}

pub(crate) fn parse_general(fields: &Fields<'_>) -> Result<General, Refusal> {
    let name = fields.required_text("name")?;
    if name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        let why = format!(
            "must have at most {LONGEST_NAME} characters, none of them a control character"
        );
        return Err(fields.wrong("name", why));
    }
    let is_auto_abort_active = fields.flag("is_auto_abort_active", false)?;
    let auto_abort_in_minutes = fields.number("auto_abort_in_minutes", 0, 0..=u32::MAX)?;
    if is_auto_abort_active && auto_abort_in_minutes == 0 {
        return Err(fields.wrong(
            "auto_abort_in_minutes",
            "must be 1 or more where is_auto_abort_active is true",
        ));
    }
    let priority = fields.number("priority", LOWEST_PRIORITY, 1..=LOWEST_PRIORITY)?;
    Ok(General {
        name: name.to_owned(),
        description: fields.text("description")?.map(str::to_owned),
        is_active: fields.flag("is_active", true)?,
        priority: u8::try_from(priority).unwrap_or(u8::MAX),
        no_of_retention_copies: fields.number(
            "no_of_retention_copies",
            RETENTION_COPIES,
            1..=u32::MAX,
        )?,
        is_auto_abort_active,
        auto_abort_in_minutes,
    })
}

fn parse_backup(fields: &Fields<'_>, site_type: SiteType) -> Result<JobDefinition, Refusal> {
    let general = parse_general(fields)?;
    if job_type(fields)? == JobType::Restore {
        return Err(fields.wrong(
            "job_type",
            "must be BACKUP here; a RESTORE job is made by POST \
             /sites/{site_id}/jobs/{job_id}/executions/{execution_id}/restores",
        ));
    }
    let backup_type = fields.word("backup_type", &words::all::<RunType>())?;
    let mechanism = fields.word("backup_mechanism", &[BackupMechanism::Dsa])?;
    refuse_target(fields)?;
    fields.required("job_settings")?;
    let settings = fields.object("job_settings", SETTINGS, &[])?;
    let settings = settings.ok_or_else(|| Refusal::MissingField {
        field: "job_settings".to_owned(),
    })?;
    let continue_on_access_right_violation = continue_without_rights(&settings, site_type)?;
    let yield_to_ddl_seconds =
        settings.number("yield_to_ddl_seconds", YIELD_TO_DDL_SECONDS, 0..=u32::MAX)?;
    let asked = parse_objects(&settings)?;
    refuse_restore_settings(&settings, &asked)?;
    for object in &asked {
        can_be_saved(object, site_type)?;
    }
    Ok(JobDefinition {
        name: general.name,
        description: general.description,
        job_type: JobType::Backup,
        backup_type: backup_type.unwrap_or(RunType::Full),
        backup_mechanism: mechanism.unwrap_or(BackupMechanism::Dsa),
        is_active: general.is_active,
        priority: general.priority,
        no_of_retention_copies: general.no_of_retention_copies,
        is_auto_abort_active: general.is_auto_abort_active,
        auto_abort_in_minutes: general.auto_abort_in_minutes,
        online: settings.flag("online", true)?,
        continue_on_access_right_violation,
        selection: selection_of(asked)?,
        yield_to_ddl_seconds,
        restore: None,
    })
}

/// A job has no second site yet: its neutral form is `{null, 0, null}`.
fn refuse_target(fields: &Fields<'_>) -> Result<(), Refusal> {
    let Some(target) = fields.object(TARGET_SITE_DETAILS, TARGET, &[])? else {
        return Ok(());
    };
    let copies = target.number("target_retention_copies_count", 0, 0..=u32::MAX)?;
    let source = target.text("target_retention_source")?;
    if target.text("target_site_id")?.is_some() {
        return Err(target.not_built("target_site_id", "a second site of a job", "leave it null"));
    }
    if copies != 0 {
        return Err(target.wrong(
            "target_retention_copies_count",
            "must be 0 where target_site_id is null",
        ));
    }
    match source {
        None => Ok(()),
        Some(_) => Err(target.wrong(
            "target_retention_source",
            "must be null where target_site_id is null",
        )),
    }
}

const CONTINUE: &str = "continue_job_on_access_right_violation";

/// A SQLite file has no rights of its own: it can be read, or nothing of it can.
fn continue_without_rights(settings: &Fields<'_>, site_type: SiteType) -> Result<bool, Refusal> {
    let go_on = settings.flag(CONTINUE, false)?;
    if go_on && site_type == SiteType::Sqlite {
        let why = "must be false for a SQLITE site: a file that may not be read has nothing to go \
                   on with";
        return Err(settings.wrong(CONTINUE, why));
    }
    Ok(go_on)
}

/// A restore does not go on yet without what it may not write.
pub(crate) fn refuse_continue(settings: &Fields<'_>) -> Result<(), Refusal> {
    if settings.flag(CONTINUE, false)? {
        let what = "a restore that goes on without the objects that it may not write";
        return Err(settings.not_built(CONTINUE, what, "use false, or leave it out"));
    }
    Ok(())
}

/// A BACKUP job takes the keys of a restore as its answers show them: null or false.
fn refuse_restore_settings(settings: &Fields<'_>, objects: &[AskedObject]) -> Result<(), Refusal> {
    for name in [
        "run_as_a_copy_job",
        "skip_join_or_hash_indexes",
        "replace_existing",
    ] {
        if settings.flag(name, false)? {
            return Err(settings.wrong(name, "belongs to a restore; a BACKUP job takes false"));
        }
    }
    if skip_statistics(settings)? {
        return Err(settings.wrong(
            SKIP_STATISTICS,
            "belongs to a restore; a BACKUP job takes false",
        ));
    }
    for name in [
        "restore_to_a_different_database_on_target_site",
        "retained_copy",
    ] {
        if settings.value(name).is_some() {
            return Err(settings.wrong(name, "belongs to a restore; a BACKUP job takes null"));
        }
    }
    match objects.iter().find(|object| object.rename_to.is_some()) {
        None => Ok(()),
        Some(object) => Err(Refusal::invalid(
            format!("{}.rename_to", object.place),
            "belongs to a restore; a BACKUP job takes null",
        )),
    }
}

/// Name, description and the like of a RESTORE job may change; what it restores may not.
fn replace_restore(
    fields: &Fields<'_>,
    definition: &JobDefinition,
    current: &JobSettings,
) -> Result<JobDefinition, Refusal> {
    let general = parse_general(fields)?;
    let backup_type = fields.word("backup_type", &words::all::<RunType>())?;
    if backup_type.is_some_and(|t: RunType| t != definition.backup_type) {
        let why = format!(
            "must be {}: a restore has no type of run",
            definition.backup_type
        );
        return Err(fields.wrong("backup_type", why));
    }
    fields.word::<BackupMechanism>("backup_mechanism", &[BackupMechanism::Dsa])?;
    refuse_target(fields)?;
    if let Some(settings) = fields.object("job_settings", SETTINGS, &[])? {
        let kept = serde_json::to_value(current).unwrap_or_default();
        for name in SETTINGS {
            if settings
                .given(name)
                .is_some_and(|given| kept.get(name) != Some(given))
            {
                let why = "cannot be changed: what a restore brings back is fixed when it is \
                           made; start a new restore instead";
                return Err(settings.wrong(name, why));
            }
        }
    }
    Ok(JobDefinition {
        name: general.name,
        description: general.description,
        is_active: general.is_active,
        priority: general.priority,
        no_of_retention_copies: general.no_of_retention_copies,
        is_auto_abort_active: general.is_auto_abort_active,
        auto_abort_in_minutes: general.auto_abort_in_minutes,
        ..definition.clone()
    })
}
