//! Objects: what a job selects, and what a list of objects shows.

use model::{
    ExcludedObject, ObjectName, ObjectType, PlacedFault, SelectedObject, Selection, SelectionFault,
    SiteType,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Refusal;
use crate::fields::Fields;
use crate::words;

/// Something below an object that is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exclusion {
    /// In SQL quoting, without folding.
    pub object_name: String,
    /// DATABASE below a database other than DBC means the schema of that name.
    #[schema(schema_with = words::object_type)]
    pub object_type: ObjectType,
}

/// One object of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobObject {
    /// In SQL quoting, without folding; a DATABASE's is one part.
    #[schema(example = "shop")]
    pub object_name: String,
    /// Its type.
    #[schema(schema_with = words::object_type)]
    pub object_type: ObjectType,
    /// What it is in; DBC is the root of the site.
    #[schema(example = "DBC")]
    #[serde(default)]
    pub parent_name: Option<String>,
    /// The type of what it is in.
    #[schema(schema_with = words::object_type_or_null)]
    #[serde(default)]
    pub parent_type: Option<ObjectType>,
    /// Whether everything below it is meant too.
    #[serde(default)]
    pub include_all: bool,
    /// What below it is left out.
    #[serde(default)]
    pub exclude_objects: Vec<Exclusion>,
    /// Restore: its new name.
    #[serde(default)]
    pub rename_to: Option<String>,
}

/// One object of a saveset or of a live site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedObject {
    /// In SQL quoting.
    pub object_name: String,
    /// Its type.
    #[schema(schema_with = words::object_type)]
    pub object_type: ObjectType,
    /// What it is in.
    pub parent_name: String,
    /// The type of what it is in.
    #[schema(schema_with = words::object_type)]
    pub parent_type: ObjectType,
    /// Its size; null where nobody can know.
    pub byte_count: Option<u64>,
}

pub(crate) const OBJECT_FIELDS: &[&str] = &[
    "object_name",
    "object_type",
    "parent_name",
    "parent_type",
    "include_all",
    "exclude_objects",
    "rename_to",
];
pub(crate) const EXCLUSION_FIELDS: &[&str] = &["object_name", "object_type"];

/// One object of a request, with its new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AskedObject {
    pub selected: SelectedObject,
    pub rename_to: Option<ObjectName>,
    /// The way to it, for errors: `job_settings.objects[0]`.
    pub place: String,
}

/// The root of a site.
const ROOT: &str = "DBC";

/// Reads `objects`; there must be at least one.
pub(crate) fn parse_objects(settings: &Fields<'_>) -> Result<Vec<AskedObject>, Refusal> {
    settings.required("objects")?;
    let items = settings.list("objects")?;
    if items.is_empty() {
        return Err(settings.wrong("objects", "must name at least one object"));
    }
    items
        .iter()
        .enumerate()
        .map(|(i, item)| parse_object(item, &format!("{}[{i}]", settings.way("objects"))))
        .collect()
}

fn parse_object(item: &Value, place: &str) -> Result<AskedObject, Refusal> {
    let fields = Fields::of(item, place, OBJECT_FIELDS, &[])?;
    fields.required("object_name")?;
    fields.required("object_type")?;
    let object_type = object_type(&fields, "object_type")?.unwrap_or(ObjectType::Other);
    let name = name(&fields, "object_name", object_type)?;
    let mut parent_type = self::object_type(&fields, "parent_type")?;
    let kind_of_parent = parent_type.unwrap_or(ObjectType::Database);
    let mut parent_name = match fields.text("parent_name")? {
        None => None,
        Some(_) => Some(self::name(&fields, "parent_name", kind_of_parent)?),
    };
    let is_root = name.last() == ROOT && object_type == ObjectType::Database;
    if object_type == ObjectType::Database && !is_root {
        let root = ObjectName::one(ROOT);
        if parent_name.as_ref().is_some_and(|parent| *parent != root)
            || kind_of_parent != ObjectType::Database
        {
            return Err(fields.wrong("parent_name", "must be DBC, the parent of every database"));
        }
        parent_name = Some(root);
        parent_type = Some(ObjectType::Database);
    } else if !is_root && parent_name.is_none() {
        return Err(Refusal::MissingField {
            field: fields.way("parent_name"),
        });
    }
    let rename_to = match fields.text("rename_to")? {
        None => None,
        Some(_) => Some(self::name(&fields, "rename_to", object_type)?),
    };
    Ok(AskedObject {
        selected: SelectedObject {
            name,
            object_type,
            parent_name,
            parent_type,
            include_all: fields.flag("include_all", false)?,
            exclude: parse_exclusions(&fields)?,
            rename_to: None,
        },
        rename_to,
        place: place.to_owned(),
    })
}

fn parse_exclusions(object: &Fields<'_>) -> Result<Vec<ExcludedObject>, Refusal> {
    let items = object.list("exclude_objects")?;
    let mut excluded = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let place = format!("{}[{i}]", object.way("exclude_objects"));
        let fields = Fields::of(item, &place, EXCLUSION_FIELDS, &[])?;
        fields.required("object_name")?;
        fields.required("object_type")?;
        let object_type = object_type(&fields, "object_type")?.unwrap_or(ObjectType::Other);
        let name = name(&fields, "object_name", object_type)?;
        excluded.push(ExcludedObject::new(name, object_type));
    }
    Ok(excluded)
}

fn object_type(fields: &Fields<'_>, name: &str) -> Result<Option<ObjectType>, Refusal> {
    fields.word(name, &words::all::<ObjectType>())
}

fn name(fields: &Fields<'_>, field: &str, kind: ObjectType) -> Result<ObjectName, Refusal> {
    let text = fields.required_text(field)?;
    let parsed = if kind == ObjectType::Database {
        ObjectName::database(text)
    } else {
        text.parse()
    };
    parsed.map_err(|fault| fields.wrong(field, format!("is no name: {fault}")))
}

/// The objects as one selection that can be sorted by database.
pub(crate) fn selection_of(asked: Vec<AskedObject>) -> Result<Selection, Refusal> {
    let mut places = Vec::with_capacity(asked.len());
    let objects = asked.into_iter().map(|object| {
        places.push(object.place);
        SelectedObject {
            rename_to: object.rename_to,
            ..object.selected
        }
    });
    let objects = objects.collect();
    let selection = Selection { objects };
    match selection.sorted(&[]) {
        // What DBC comes to is known when a run looks at the site.
        Err(placed) if is_nothing(&placed.fault) && selection.needs_the_list() => Ok(selection),
        Err(placed) => {
            let why = format!("cannot be: {}", placed.fault);
            Err(Refusal::invalid(way_to(&placed, &places), why))
        }
        Ok(_) => Ok(selection),
    }
}

fn is_nothing(fault: &SelectionFault) -> bool {
    matches!(fault, SelectionFault::Nothing(_))
}

/// The way to the field that a fault is about; `places`: those of the objects.
fn way_to(placed: &PlacedFault, places: &[String]) -> String {
    let object = placed.place.object.and_then(|at| places.get(at));
    let Some(object) = object else {
        return "job_settings.objects".to_owned();
    };
    if let Some(excluded) = placed.place.excluded {
        return format!("{object}.exclude_objects[{excluded}].object_name");
    }
    match placed.fault {
        SelectionFault::NoDatabase(_) => format!("{object}.parent_name"),
        SelectionFault::OtherPlace { .. } => format!("{object}.object_name"),
        SelectionFault::HoldsNothing(_) => format!("{object}.include_all"),
        SelectionFault::NothingBelow(_) => format!("{object}.exclude_objects"),
        _ => object.clone(),
    }
}

/// That a backup can read by itself what is asked for: a SQLite file is read whole.
pub(crate) fn can_be_saved(asked: &AskedObject, site_type: SiteType) -> Result<(), Refusal> {
    let (selected, place) = (&asked.selected, &asked.place);
    if selected.object_type == ObjectType::Database && !selected.is_root() {
        fits_site_type(&selected.name, site_type, &format!("{place}.object_name"))?;
    }
    if site_type != SiteType::Sqlite {
        return Ok(());
    }
    if selected.object_type != ObjectType::Database {
        return Err(Refusal::invalid(
            format!("{place}.object_type"),
            "must be DATABASE on a SQLITE site: a file is backed up whole, and single tables are restored out of it",
        ));
    }
    let within = |excluded: &&ExcludedObject| {
        !selected.is_root() || excluded.object_type != ObjectType::Database
    };
    match selected.exclude.iter().enumerate().find(|(_, e)| within(e)) {
        None => Ok(()),
        Some((at, excluded)) => Err(Refusal::invalid(
            format!("{place}.exclude_objects[{at}]"),
            format!(
                "cannot leave out {}: a SQLite file is backed up whole; below DBC a DATABASE can be left out",
                excluded.name
            ),
        )),
    }
}

/// That a database's name can be one on a site of that type.
pub(crate) fn fits_site_type(
    name: &ObjectName,
    site_type: SiteType,
    field: &str,
) -> Result<(), Refusal> {
    let text = name.last();
    match site_type {
        SiteType::Sqlite if text.contains('/') || matches!(text, "." | "..") => {
            Err(Refusal::invalid(
                field,
                "must be a plain file name without `/` on a SQLITE site",
            ))
        }
        SiteType::Postgresql if text.len() > 63 => Err(Refusal::invalid(
            field,
            "must have at most 63 bytes: PostgreSQL cuts longer names",
        )),
        _ => Ok(()),
    }
}

impl JobObject {
    /// As answers show a selected object.
    pub fn of(selected: &SelectedObject, rename_to: Option<&ObjectName>) -> Self {
        JobObject {
            object_name: shown(&selected.name, Some(selected.object_type)),
            object_type: selected.object_type,
            parent_name: selected
                .parent_name
                .as_ref()
                .map(|name| shown(name, selected.parent_type)),
            parent_type: selected.parent_type,
            include_all: selected.include_all,
            exclude_objects: selected
                .exclude
                .iter()
                .map(|excluded| Exclusion {
                    object_name: shown(&excluded.name, Some(excluded.object_type)),
                    object_type: excluded.object_type,
                })
                .collect(),
            rename_to: rename_to
                .or(selected.rename_to.as_ref())
                .map(|name| shown(name, Some(selected.object_type))),
        }
    }
}

/// A name as it is answered: a DATABASE's without quotes, `shop.db`, unless it begins and ends
/// with one; any other in SQL quoting.
pub(crate) fn shown(name: &ObjectName, kind: Option<ObjectType>) -> String {
    let plain = name.last();
    let looks_quoted = plain.starts_with('"') && plain.ends_with('"');
    if kind == Some(ObjectType::Database) && name.parts().len() == 1 && !looks_quoted {
        plain.to_owned()
    } else {
        name.to_string()
    }
}

impl ListedObject {
    /// As lists show an object, its names in SQL quoting.
    pub fn of(
        name: &ObjectName,
        object_type: ObjectType,
        parent_name: &ObjectName,
        parent_type: ObjectType,
        byte_count: Option<u64>,
    ) -> Self {
        ListedObject {
            object_name: shown(name, Some(object_type)),
            object_type,
            parent_name: shown(parent_name, Some(parent_type)),
            parent_type,
            byte_count,
        }
    }
}
