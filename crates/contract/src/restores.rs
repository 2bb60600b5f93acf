//! Restores: row 14 and what belongs to it.

use std::collections::BTreeSet;

use model::{
    BackupMechanism, Findings, JobDefinition, JobType, ObjectName, ObjectType, RunType, SavesetId,
    SelectedObject, Selection, SiteId, SiteType,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Refusal;
use crate::fields::Fields;
use crate::job_parsing::{General, YIELD_TO_DDL_SECONDS, parse_general, refuse_continue};
use crate::objects::{AskedObject, JobObject, fits_site_type, parse_objects, selection_of};
use crate::quirks::{SKIP_STATISTICS, SKIP_STATISTICS_RIGHTLY, id_text, skip_statistics};

/// The body of row 14.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestoreRequest {
    /// The name of the RESTORE job that is made.
    #[schema(min_length = 1, max_length = 255)]
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The site restored to; the path's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_site: Option<String>,
    /// 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 5)]
    pub priority: Option<u8>,
    /// false by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub is_auto_abort_active: Option<bool>,
    /// 0 by default; 1 or more where the auto abort is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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
    /// What of the saveset is restored: DBC, databases, schemas, tables, each with its `rename_to`.
    pub objects: Vec<JobObject>,
    /// Only false is there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub continue_job_on_access_right_violation: Option<bool>,
    /// Only new objects; true by default where new names are given and nothing is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub run_as_a_copy_job: Option<bool>,
    /// The database's new name, where exactly one is restored whole; or the object's `rename_to`.
    /// Without a new name it goes back to its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_to_a_different_database_on_target_site: Option<String>,
    /// Leave out statistics. Spelt so; `skip_statistics` is accepted too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub skip_statstics: Option<bool>,
    /// Leave out secondary indexes that are no constraint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub skip_join_or_hash_indexes: Option<bool>,
    /// A filled target is put aside and replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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

/// A restore as a request wants it, before it is known which saveset the path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreDraft {
    /// The RESTORE job to be made; its `restore` is `None` until the saveset is known.
    pub job: JobDefinition,
    /// The site restored to.
    pub target_site: SiteId,
    /// The new name of the one database that is restored; `None`: what is restored has the names
    /// that the selection gives it, or its own.
    pub new_name: Option<ObjectName>,
    /// Whether the new name came as the object's `rename_to`.
    pub named_by_rename_to: bool,
    /// Only new objects; `None`: not said.
    pub run_as_copy: Option<bool>,
    /// A filled target is put aside.
    pub replace_existing: bool,
    /// Leave out statistics.
    pub skip_statistics: bool,
    /// Leave out secondary indexes that are no constraint.
    pub skip_indexes: bool,
    /// As the request had it.
    pub retained_copy: Option<String>,
    /// Only the plan is wanted.
    pub dry_run: bool,
    /// The way to the new name, for errors.
    new_name_field: String,
}

pub(crate) const KNOWN: &[&str] = &[
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
pub(crate) const SETTINGS: &[&str] = &[
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
    let mut asked = parse_objects(&settings)?;
    let (new_name, named_by_rename_to) = new_name(&settings, &mut asked)?;
    let new_name_field = match (named_by_rename_to, asked.first()) {
        (true, Some(object)) => format!("{}.rename_to", object.place),
        _ => settings.way(TO_ANOTHER),
    };
    let selection = selection_of(asked)?;
    no_name_twice(&selection, false)?;
    Ok(RestoreDraft {
        target_site,
        new_name_field,
        new_name,
        named_by_rename_to,
        run_as_copy: settings.optional_flag("run_as_a_copy_job")?,
        replace_existing: settings.flag("replace_existing", false)?,
        skip_statistics: skip_statistics(&settings)?,
        skip_indexes: settings.flag("skip_join_or_hash_indexes", false)?,
        retained_copy: id_text(&settings, "retained_copy")?,
        dry_run: fields.flag("dry_run", false)?,
        job: restore_job(general, selection),
    })
}

/// The RESTORE job, everything that a restore has no say in neutral.
fn restore_job(general: General, selection: Selection) -> JobDefinition {
    JobDefinition {
        name: general.name,
        description: general.description,
        job_type: JobType::Restore,
        backup_type: RunType::Full,
        backup_mechanism: BackupMechanism::Dsa,
        is_active: general.is_active,
        priority: general.priority,
        no_of_retention_copies: general.no_of_retention_copies,
        is_auto_abort_active: general.is_auto_abort_active,
        auto_abort_in_minutes: general.auto_abort_in_minutes,
        online: true,
        continue_on_access_right_violation: false,
        selection,
        yield_to_ddl_seconds: YIELD_TO_DDL_SECONDS,
        restore: None,
    }
}

/// The new name of the one database that is asked for, taken off the object if it came as its
/// `rename_to`, and whether it did. All others keep theirs in the selection.
fn new_name(
    settings: &Fields<'_>,
    asked: &mut [AskedObject],
) -> Result<(Option<ObjectName>, bool), Refusal> {
    let different = match settings.text(TO_ANOTHER)? {
        None => None,
        Some(text) => Some(
            ObjectName::database(text)
                .map_err(|fault| settings.wrong(TO_ANOTHER, format!("is no name: {fault}")))?,
        ),
    };
    let object = match asked {
        [object] if object.selected.is_database() && object.selected.include_all => object,
        _ if different.is_some() => {
            return Err(settings.wrong(
                TO_ANOTHER,
                "goes with exactly one object, a DATABASE with include_all true; give other objects their new names as rename_to",
            ));
        }
        _ => return Ok((None, false)),
    };
    match (different, object.rename_to.take()) {
        (Some(one), Some(other)) if one != other => Err(settings.wrong(
            TO_ANOTHER,
            format!(
                "says something else than `{}.rename_to`; give only one of them",
                object.place
            ),
        )),
        (Some(name), _) => Ok((Some(name), false)),
        (None, name) => Ok((name.clone(), name.is_some())),
    }
}

/// That a restore can bring it by itself.
fn can_be_restored(object: &SelectedObject, place: &str, target: SiteType) -> Result<(), Refusal> {
    use ObjectType::{Database, ForeignTable, MaterializedView, Schema, Sequence, Table, View};
    let not_yet = |field: &str, what: String, neutral: &str| {
        Err(Refusal::NotBuiltYet {
            field: format!("{place}.{field}"),
            what,
            neutral: neutral.to_owned(),
        })
    };
    let kind = object.object_type;
    let is_schema =
        kind == Schema || kind == Database && !object.is_database() && !object.is_root();
    match (target, kind) {
        (SiteType::Sqlite, Database | Table) if !is_schema => Ok(()),
        (SiteType::Sqlite, _) => not_yet(
            "object_type",
            format!("restoring a {kind} of a SQLite file by itself"),
            "choose the TABLE that it belongs to, or the DATABASE",
        ),
        (SiteType::Postgresql, _) if is_schema && !object.exclude.is_empty() => not_yet(
            "exclude_objects",
            "restoring a schema without some of its objects".to_owned(),
            "choose the schema whole, or the tables in it that are wanted",
        ),
        (SiteType::Postgresql, _) if is_schema => Ok(()),
        (
            SiteType::Postgresql,
            Database | Table | View | MaterializedView | Sequence | ForeignTable,
        ) => Ok(()),
        (SiteType::Postgresql, _) => not_yet(
            "object_type",
            format!("restoring a {kind} by itself"),
            "choose its SCHEMA, or the DATABASE under another name and take it from there",
        ),
    }
}

/// Two objects cannot become one: names are compared as the target will see them, an unqualified one
/// as in the schema `public`, and `folded` without letter case, as SQLite does. DBC cannot be renamed
/// at all.
fn no_name_twice(selection: &Selection, folded: bool) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for (i, object) in selection.objects.iter().enumerate() {
        let place = format!("job_settings.objects[{i}]");
        if object.is_root() && object.rename_to.is_some() {
            let why = "goes with one object: DBC is all databases, and each keeps its name";
            return Err(Refusal::invalid(format!("{place}.rename_to"), why));
        }
        let holds = matches!(
            object.object_type,
            ObjectType::Database | ObjectType::Schema
        );
        let own = qualified(&object.name, None, holds);
        let named = object.rename_to.as_ref();
        let name = named.map_or_else(|| own.clone(), |to| qualified(to, Some(&own), holds));
        let name: Vec<String> = match folded {
            true => name.iter().map(|part| part.to_lowercase()).collect(),
            false => name,
        };
        let parent = object.parent_name.as_ref().map(ObjectName::to_string);
        // What is no database or schema shares one space of names: tables, views, sequences.
        let kind = holds.then_some(object.object_type);
        if !seen.insert((parent, kind, name)) {
            let name = named.unwrap_or(&object.name);
            let why = format!("would be restored as {name}, and so would another object");
            return Err(Refusal::invalid(place, why));
        }
    }
    Ok(())
}

/// The parts of a name; where it has one only, in the schema that it keeps, or in `public`.
fn qualified(name: &ObjectName, keeps: Option<&[String]>, holds: bool) -> Vec<String> {
    match (holds, name.parts(), keeps) {
        (false, [one], Some([schema, _])) => vec![schema.clone(), one.clone()],
        (false, [one], _) => vec!["public".to_owned(), one.clone()],
        (_, parts, _) => parts.to_vec(),
    }
}

impl RestoreDraft {
    /// Checks the new names against the type of the target site.
    ///
    /// # Errors
    /// [`Refusal::InvalidField`] for a name that such a site cannot have.
    pub fn fits(&self, target: SiteType) -> Result<(), Refusal> {
        if let Some(name) = &self.new_name {
            fits_site_type(name, target, &self.new_name_field)?;
        }
        no_name_twice(&self.job.selection, target == SiteType::Sqlite)?;
        for (at, object) in self.job.selection.objects.iter().enumerate() {
            let place = format!("job_settings.objects[{at}]");
            can_be_restored(object, &place, target)?;
            if let Some(name) = object.rename_to.as_ref().filter(|_| object.is_database()) {
                fits_site_type(name, target, &format!("{place}.rename_to"))?;
            }
        }
        Ok(())
    }

    /// Checks `retained_copy` against the saveset of the execution that the path names.
    ///
    /// # Errors
    /// [`Refusal::InvalidField`] unless it is that saveset, or absent.
    pub fn means(&self, saveset: SavesetId) -> Result<(), Refusal> {
        match &self.retained_copy {
            Some(copy) if *copy != saveset.to_string() => Err(Refusal::invalid(
                "job_settings.retained_copy",
                format!(
                    "must be \"{saveset}\", the saveset of the path's execution, or be left out"
                ),
            )),
            _ => Ok(()),
        }
    }
}
