//! Objects that are left out of a whole file: dropped from the working file before anybody sees it.

use std::path::Path;

use model::{DatabaseSelection, ObjectType};

use crate::error::SqliteError;
use crate::restore::tables::{drop_object, open_own, working_views};
use crate::schema;
use crate::shape::{Kind, shapes};

/// Drops what the selection does not take. Answers warnings.
pub(crate) fn leave_out(
    path: &Path,
    selection: &DatabaseSelection,
) -> Result<Vec<String>, SqliteError> {
    let failed = |error| SqliteError::of("leaving objects out of", path, error);
    let database = open_own(path)?;
    let objects = schema::objects(&database).map_err(failed)?;
    let listed = objects
        .iter()
        .map(|object| ("", object.name.as_str(), object.object_type));
    let missing = selection.unmatched(listed).excluded;
    let mut warnings: Vec<String> = missing
        .iter()
        .map(|object| format!("{object} is to be left out, but the saveset has none."))
        .collect();
    let views = working_views(&database).map_err(failed)?;
    let out = |kind| {
        let objects = objects
            .iter()
            .filter(move |object| object.object_type == kind);
        objects.filter(move |object| !selection.takes("", &object.name, kind))
    };
    // The tables in which a virtual one keeps its rows go and stay with it.
    let all = shapes(&database, "main").map_err(failed)?;
    let shadows: Vec<&str> = all
        .iter()
        .filter(|shape| shape.kind == Kind::Shadow)
        .map(|shape| shape.name.as_str())
        .collect();
    // A table takes its indexes and triggers along.
    for kind in [
        ObjectType::Trigger,
        ObjectType::Index,
        ObjectType::View,
        ObjectType::Table,
    ] {
        for object in out(kind).filter(|object| !shadows.contains(&object.name.as_str())) {
            drop_object(&database, &object.name).map_err(failed)?;
        }
    }
    let left: Vec<String> = working_views(&database).map_err(failed)?;
    let is_out = |view: &str| !selection.takes("", view, ObjectType::View);
    warnings.extend(
        views
            .iter()
            .filter(|view| !left.contains(view) && !is_out(view))
            .map(|view| format!("The view {view} cannot be read without what is left out.")),
    );
    database.close().map_err(|(_, error)| failed(error))?;
    Ok(warnings)
}
