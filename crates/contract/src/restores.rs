//! Restores: row 14 and what belongs to it.

use model::{
    BackupMechanism, ExecutionId, Findings, JobDefinition, JobId, JobType, ObjectName,
    RestoreSettings, RunType, SavesetId, SelectedObject, Selection, SiteId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::jobs::{
    General, RETENTION_COPIES, YIELD_TO_DDL_SECONDS, parse_general, refuse_continue,
};
use crate::objects::{AskedObject, JobObject, one_whole_database, parse_objects};
use crate::quirks::{SKIP_STATISTICS, SKIP_STATISTICS_RIGHTLY, id_text, skip_statistics};
use crate::{ListedObject, Refusal};

/// The body of row 14.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestoreRequest {
    /// The name of the RESTORE job that is made.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The site restored to; the path's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_site: Option<String>,
    /// 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 5)]
    pub priority: Option<u8>,
    /// false by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_auto_abort_active: Option<bool>,
    /// 0 by default; 1 or more where the auto abort is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_abort_in_minutes: Option<u32>,
    /// true: 200 and the plan; nothing is touched, no job is made.
    #[serde(default)]
    pub dry_run: bool,
    /// What is restored, and how.
    pub job_settings: RestoreJobSettings,
}

/// `job_settings` of row 14.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestoreJobSettings {
    /// Exactly one: the saveset's DATABASE with include_all.
    pub objects: Vec<JobObject>,
    /// Only false is there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_job_on_access_right_violation: Option<bool>,
    /// Only new objects; true by default, as a new name is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_a_copy_job: Option<bool>,
    /// The database's new name; or the object's `rename_to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_to_a_different_database_on_target_site: Option<String>,
    /// Leave out statistics. Spelt so; `skip_statistics` is accepted too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_statstics: Option<bool>,
    /// Leave out secondary indexes that are no constraint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_join_or_hash_indexes: Option<bool>,
    /// A filled target is put aside and replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_existing: Option<bool>,
    /// The path's saveset, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained_copy: Option<String>,
}

/// Something that would stop a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanObstacle {
    /// A stable word: `target-not-empty`, `unknown-role`, …
    pub code: String,
    /// What is in the way.
    pub detail: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// The answer to a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// What would stop it; empty: it would run.
    pub obstacles: Vec<PlanObstacle>,
    /// What a person should know first.
    pub warnings: Vec<String>,
    /// What would be done, step by step.
    pub steps: Vec<String>,
    /// Bytes of rows that would be written, about; indexes come on top.
    pub bytes_needed: u64,
}

impl Plan {
    /// As the answer shows it.
    pub fn of(findings: &Findings) -> Self {
        Plan {
            obstacles: findings
                .obstacles
                .iter()
                .map(|obstacle| PlanObstacle {
                    code: obstacle.code.clone(),
                    detail: obstacle.detail.clone(),
                    remedy: obstacle.remedy.clone(),
                })
                .collect(),
            warnings: findings.warnings.clone(),
            steps: findings.steps.clone(),
            bytes_needed: findings.bytes_needed,
        }
    }
}

/// Row 7.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preparation {
    /// QUEUED, RUNNING, SUCCESSFUL or FAILED.
    pub status: String,
    /// As a sentence.
    pub details: String,
}

/// Row 11.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Permissions {
    /// Whether a restore may run.
    pub permitted: bool,
    /// What is missing.
    pub missing: Vec<ListedObject>,
}

/// The saveset that a restore brings back: what the path of row 14 names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredSaveset {
    /// The backup job.
    pub job: JobId,
    /// Its execution.
    pub execution: ExecutionId,
    /// The saveset that it made.
    pub saveset: SavesetId,
}

/// A restore as a request wants it, before it is known which saveset the path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreDraft {
    name: String,
    description: Option<String>,
    priority: u8,
    is_auto_abort_active: bool,
    auto_abort_in_minutes: u32,
    object: SelectedObject,
    target_site: SiteId,
    new_name: ObjectName,
    new_name_field: String,
    named_by_rename_to: bool,
    run_as_copy: bool,
    replace_existing: bool,
    skip_statistics: bool,
    skip_indexes: bool,
    retained_copy: Option<String>,
    /// Only the plan is wanted.
    pub dry_run: bool,
}

const KNOWN: &[&str] = &[
    "name",
    "description",
    "target_site",
    "priority",
    "is_auto_abort_active",
    "auto_abort_in_minutes",
    "dry_run",
    "job_settings",
];
const TO_ANOTHER: &str = "restore_to_a_different_database_on_target_site";
const SETTINGS: &[&str] = &[
    "objects",
    "continue_job_on_access_right_violation",
    "run_as_a_copy_job",
    TO_ANOTHER,
    SKIP_STATISTICS,
    SKIP_STATISTICS_RIGHTLY,
    "skip_join_or_hash_indexes",
    "replace_existing",
    "retained_copy",
];

/// Reads the body of row 14; `site` is the path's.
///
/// # Errors
/// The first field that cannot be.
pub fn parse_restore(body: &Value, site: &SiteId) -> Result<RestoreDraft, Refusal> {
    let fields = Fields::of(body, "", KNOWN, &[])?;
    let general: General = parse_general(&fields)?;
    let target_site = match fields.text("target_site")? {
        None => site.clone(),
        Some(text) => text
            .parse()
            .map_err(|fault| fields.wrong("target_site", format!("cannot be: {fault}")))?,
    };
    fields.required("job_settings")?;
    let settings = fields.object("job_settings", SETTINGS, &[])?;
    let settings = settings.ok_or_else(|| Refusal::MissingField {
        field: "job_settings".to_owned(),
    })?;
    refuse_continue(&settings)?;
    let object = one_whole_database(parse_objects(&settings)?)?;
    let (new_name, named_by_rename_to) = new_name(&settings, &object)?;
    Ok(RestoreDraft {
        name: general.name,
        description: general.description,
        priority: general.priority,
        is_auto_abort_active: general.is_auto_abort_active,
        auto_abort_in_minutes: general.auto_abort_in_minutes,
        target_site,
        new_name,
        new_name_field: if named_by_rename_to {
            format!("{}.rename_to", object.place)
        } else {
            settings.way(TO_ANOTHER)
        },
        named_by_rename_to,
        // Absent: true, because a new name is given.
        run_as_copy: settings.flag("run_as_a_copy_job", true)?,
        replace_existing: settings.flag("replace_existing", false)?,
        skip_statistics: skip_statistics(&settings)?,
        skip_indexes: settings.flag("skip_join_or_hash_indexes", false)?,
        retained_copy: id_text(&settings, "retained_copy")?,
        dry_run: fields.flag("dry_run", false)?,
        object: object.selected,
    })
}

/// The new name, and whether it came as the object's `rename_to`.
fn new_name(settings: &Fields<'_>, object: &AskedObject) -> Result<(ObjectName, bool), Refusal> {
    let different = match settings.text(TO_ANOTHER)? {
        None => None,
        Some(text) => Some(
            ObjectName::database(text)
                .map_err(|fault| settings.wrong(TO_ANOTHER, format!("is no name: {fault}")))?,
        ),
    };
    match (different, object.rename_to.clone()) {
        (Some(one), Some(other)) if one != other => Err(settings.wrong(
            TO_ANOTHER,
            format!(
                "says something else than `{}.rename_to`; give only one of them",
                object.place
            ),
        )),
        (Some(name), _) => Ok((name, false)),
        (None, Some(name)) => Ok((name, true)),
        (None, None) => Err(settings.not_built(
            TO_ANOTHER,
            "restoring a database back in its place, without a new name,",
            "give the new database's name here or in the object's rename_to",
        )),
    }
}

impl RestoreDraft {
    /// The site restored to.
    pub fn target_site(&self) -> &SiteId {
        &self.target_site
    }

    /// Checks the new name against the type of the target site.
    ///
    /// # Errors
    /// [`Refusal::InvalidField`] for a name that such a site cannot have.
    pub fn fits(&self, target: model::SiteType) -> Result<(), Refusal> {
        crate::objects::fits_site_type(&self.new_name, target, &self.new_name_field)
    }

    /// The RESTORE job, now that it is known what the path means.
    ///
    /// # Errors
    /// A `retained_copy` that is not the path's saveset.
    pub fn into_job(self, restored: RestoredSaveset) -> Result<JobDefinition, Refusal> {
        let saveset = restored.saveset;
        if let Some(copy) = &self.retained_copy
            && *copy != saveset.to_string()
        {
            return Err(Refusal::invalid(
                "job_settings.retained_copy",
                format!(
                    "must be \"{saveset}\", the saveset of the path's execution, or be left out"
                ),
            ));
        }
        Ok(JobDefinition {
            name: self.name,
            description: self.description,
            job_type: JobType::Restore,
            backup_type: RunType::Full,
            backup_mechanism: BackupMechanism::Dsa,
            is_active: true,
            priority: self.priority,
            no_of_retention_copies: RETENTION_COPIES,
            is_auto_abort_active: self.is_auto_abort_active,
            auto_abort_in_minutes: self.auto_abort_in_minutes,
            online: true,
            selection: Selection {
                objects: vec![self.object],
            },
            yield_to_ddl_seconds: YIELD_TO_DDL_SECONDS,
            restore: Some(RestoreSettings {
                backup_execution_id: restored.execution,
                backup_job_id: restored.job.get(),
                saveset_id: saveset,
                target_site: self.target_site,
                new_name: Some(self.new_name),
                named_by_rename_to: self.named_by_rename_to,
                run_as_copy: self.run_as_copy,
                replace_existing: self.replace_existing,
                skip_statistics: self.skip_statistics,
                skip_indexes: self.skip_indexes,
                retained_copy: self.retained_copy,
            }),
        })
    }
}
