//! Jobs: what is backed up or restored, and how.

use model::{
    BackupMechanism, ExecutionStatus, JobDefinition, JobId, JobType, Moment, RunType, Selection,
    SiteId, SiteType,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::objects::{
    AskedObject, JobObject, fits_site_type, one_whole_database, parse_objects, shown,
};
use crate::quirks::{
    SITE_TARGET_TYPE, SKIP_STATISTICS, SKIP_STATISTICS_RIGHTLY, TARGET_SITE_DETAILS,
    skip_statistics,
};
use crate::{Refusal, words};

/// The newest execution of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastExecutionDetails {
    /// Null until it ends.
    #[schema(schema_with = words::moment_or_null)]
    pub end_time: Option<Moment>,
    /// Null while QUEUED.
    #[schema(schema_with = words::moment_or_null)]
    pub start_time: Option<Moment>,
    /// What it is.
    #[schema(schema_with = words::status)]
    pub status: ExecutionStatus,
    /// As in the lists of executions.
    pub backup_set_size: u64,
    /// BACKUP: the job itself. RESTORE: the job whose saveset was restored.
    pub backup_job_id: Option<i64>,
    /// BACKUP: the execution itself. RESTORE: the one that was restored.
    pub backup_job_execution_id: Option<i64>,
    /// BACKUP: the newest restore of it, or null. RESTORE: the execution itself.
    pub restore_execution_id: Option<i64>,
}

/// The second site of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetSiteDetails {
    /// Null: there is none.
    #[serde(default)]
    pub target_site_id: Option<String>,
    /// How many savesets are kept there.
    #[serde(default)]
    pub target_retention_copies_count: u32,
    /// TARGET or SOURCE: whose number counts.
    #[serde(default)]
    pub target_retention_source: Option<String>,
}

/// One row of a list of jobs: the sample's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedJob {
    /// The site it belongs to.
    #[schema(value_type = String)]
    pub site_id: SiteId,
    /// After how many minutes a run is aborted, where that is active.
    pub auto_abort_in_minutes: u32,
    /// What a run becomes that is asked for nothing else.
    #[schema(schema_with = words::run_type)]
    pub backup_type: RunType,
    /// For people.
    pub description: Option<String>,
    /// Whether schedules fire.
    pub is_active: bool,
    /// Whether a run is aborted after a while.
    pub is_auto_abort_active: bool,
    /// One sequence for the whole server.
    #[schema(value_type = i64)]
    pub job_id: JobId,
    /// BACKUP or RESTORE.
    #[schema(schema_with = words::job_type)]
    pub job_type: JobType,
    /// Null before the first run; a running one too.
    pub last_execution_details: Option<LastExecutionDetails>,
    /// For people.
    pub name: String,
    /// Null without a schedule.
    #[schema(schema_with = words::moment_or_null)]
    pub next_run_time: Option<Moment>,
    /// How many savesets are kept.
    pub no_of_retention_copies: u32,
    /// 1 (highest) to 5.
    pub priority: u8,
    /// Where the site's vault is.
    #[serde(rename = "siteTargetType")]
    #[schema(schema_with = words::site_target_type)]
    pub site_target_type: String,
    /// How data leaves the database.
    #[schema(schema_with = words::mechanism)]
    pub backup_mechanism: BackupMechanism,
    /// The second site.
    #[serde(rename = "targetSiteDetails")]
    pub target_site_details: TargetSiteDetails,
}

/// What a job saves or restores. A BACKUP shows the keys of a restore as null or false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobSettings {
    /// A consistent snapshot while others write.
    #[serde(default = "yes")]
    pub online: bool,
    /// What is saved or restored.
    pub objects: Vec<JobObject>,
    /// Whether an object that may not be read is skipped.
    #[serde(default)]
    pub continue_job_on_access_right_violation: bool,
    /// Restore: only new objects.
    #[serde(default)]
    pub run_as_a_copy_job: bool,
    /// Restore: the database's new name.
    #[serde(default)]
    pub restore_to_a_different_database_on_target_site: Option<String>,
    /// Restore: leave out statistics. Spelt so.
    #[serde(default)]
    pub skip_statstics: bool,
    /// Restore: leave out secondary indexes that are no constraint.
    #[serde(default)]
    pub skip_join_or_hash_indexes: bool,
    /// Restore: a filled target is put aside.
    #[serde(default)]
    pub replace_existing: bool,
    /// Restore: a saveset id, or `latest`.
    #[serde(default)]
    pub retained_copy: Option<String>,
    /// How long locks are kept that others wait for; 0: for ever.
    #[serde(default = "yield_default")]
    pub yield_to_ddl_seconds: u32,
}

fn yes() -> bool {
    true
}

fn yield_default() -> u32 {
    YIELD_TO_DDL_SECONDS
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// As in the lists.
    #[serde(flatten)]
    pub listed: ListedJob,
    /// What it saves or restores.
    pub job_settings: JobSettings,
    /// RESTORE: the site restored to; else null.
    #[schema(value_type = Option<String>)]
    pub target_site: Option<SiteId>,
    /// When it was made.
    #[schema(schema_with = words::moment)]
    pub created_at: Moment,
}

/// A job as a client writes it: POST, PUT and, with the changed fields only, PATCH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobRequest {
    /// For people.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// BACKUP; a RESTORE job is made by POST …/restores.
    #[schema(schema_with = words::job_type)]
    pub job_type: JobType,
    /// FULL by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::run_type)]
    pub backup_type: Option<RunType>,
    /// DSA by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::mechanism)]
    pub backup_mechanism: Option<BackupMechanism>,
    /// true by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    /// 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 5)]
    pub priority: Option<u8>,
    /// 7 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub no_of_retention_copies: Option<u32>,
    /// false by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_auto_abort_active: Option<bool>,
    /// 0 by default; 1 or more where the auto abort is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_abort_in_minutes: Option<u32>,
    /// The second site; only none is there yet.
    #[serde(
        rename = "targetSiteDetails",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub target_site_details: Option<TargetSiteDetails>,
    /// What it saves.
    pub job_settings: JobSettings,
}

/// The body of row 3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecuteRequest {
    /// FULL or DELTA, in any letter case; the job's backup_type by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::run_type)]
    pub run_type: Option<RunType>,
}

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
    if backup_type == Some(RunType::Delta) {
        return Err(fields.not_built("backup_type", "DELTA", "use FULL, or leave it out"));
    }
    let mechanism = fields.word("backup_mechanism", &[BackupMechanism::Dsa])?;
    refuse_target(fields)?;
    fields.required("job_settings")?;
    let settings = fields.object("job_settings", SETTINGS, &[])?;
    let settings = settings.ok_or_else(|| Refusal::MissingField {
        field: "job_settings".to_owned(),
    })?;
    refuse_unbuilt_settings(&settings)?;
    let yield_to_ddl_seconds =
        settings.number("yield_to_ddl_seconds", YIELD_TO_DDL_SECONDS, 0..=u32::MAX)?;
    let asked = parse_objects(&settings)?;
    refuse_restore_settings(&settings, &asked)?;
    let object = one_whole_database(asked)?;
    fits_site_type(
        &object.selected.name,
        site_type,
        &format!("{}.object_name", object.place),
    )?;
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
        online: true,
        selection: Selection {
            objects: vec![object.selected],
        },
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

/// Settings of a backup whose effect is not there yet.
pub(crate) fn refuse_unbuilt_settings(settings: &Fields<'_>) -> Result<(), Refusal> {
    if !settings.flag("online", true)? {
        return Err(settings.not_built("online", "an offline backup", "use true, or leave it out"));
    }
    refuse_continue(settings)
}

pub(crate) fn refuse_continue(settings: &Fields<'_>) -> Result<(), Refusal> {
    let name = "continue_job_on_access_right_violation";
    if settings.flag(name, false)? {
        let what = "going on without the objects that may not be read";
        return Err(settings.not_built(name, what, "use false, or leave it out"));
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

impl JobSettings {
    /// As answers show the settings of a job; a RESTORE job's as its request had them.
    pub fn of(definition: &JobDefinition) -> Self {
        let restore = definition.restore.as_ref();
        let new_name = restore.and_then(|r| r.new_name.as_ref());
        let by_rename = restore.is_some_and(|r| r.named_by_rename_to);
        let objects = definition.selection.objects.iter();
        JobSettings {
            online: definition.online,
            objects: objects
                .map(|object| JobObject::of(object, new_name.filter(|_| by_rename)))
                .collect(),
            continue_job_on_access_right_violation: false,
            run_as_a_copy_job: restore.is_some_and(|r| r.run_as_copy),
            restore_to_a_different_database_on_target_site: new_name
                .filter(|_| !by_rename)
                .map(|name| shown(name, Some(model::ObjectType::Database))),
            skip_statstics: restore.is_some_and(|r| r.skip_statistics),
            skip_join_or_hash_indexes: restore.is_some_and(|r| r.skip_indexes),
            replace_existing: restore.is_some_and(|r| r.replace_existing),
            retained_copy: restore.and_then(|r| r.retained_copy.clone()),
            yield_to_ddl_seconds: definition.yield_to_ddl_seconds,
        }
    }

    /// Those of a backup of one whole database, all else by default.
    pub fn whole_database(name: &str) -> Self {
        JobSettings {
            online: true,
            objects: vec![JobObject {
                object_name: name.to_owned(),
                object_type: model::ObjectType::Database,
                parent_name: Some("DBC".to_owned()),
                parent_type: Some(model::ObjectType::Database),
                include_all: true,
                exclude_objects: Vec::new(),
                rename_to: None,
            }],
            continue_job_on_access_right_violation: false,
            run_as_a_copy_job: false,
            restore_to_a_different_database_on_target_site: None,
            skip_statstics: false,
            skip_join_or_hash_indexes: false,
            replace_existing: false,
            retained_copy: None,
            yield_to_ddl_seconds: YIELD_TO_DDL_SECONDS,
        }
    }
}

impl ListedJob {
    /// As lists show a job.
    pub fn of(
        site_id: &SiteId,
        job_id: JobId,
        definition: &JobDefinition,
        site_target_type: &str,
        last: Option<LastExecutionDetails>,
    ) -> Self {
        ListedJob {
            site_id: site_id.clone(),
            auto_abort_in_minutes: definition.auto_abort_in_minutes,
            backup_type: definition.backup_type,
            description: definition.description.clone(),
            is_active: definition.is_active,
            is_auto_abort_active: definition.is_auto_abort_active,
            job_id,
            job_type: definition.job_type,
            last_execution_details: last,
            name: definition.name.clone(),
            next_run_time: None,
            no_of_retention_copies: definition.no_of_retention_copies,
            priority: definition.priority,
            site_target_type: site_target_type.to_owned(),
            backup_mechanism: definition.backup_mechanism,
            target_site_details: TargetSiteDetails::default(),
        }
    }
}
