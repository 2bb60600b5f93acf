//! What is in a database: its objects, and their SQL as text.

use model::{BrowsedObject, ObjectName, ObjectType, SavesetObject};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::site::FileName;

/// `sqlite_…` names are SQLite's own: statistics, sequences, indexes of constraints.
const OBJECTS: &str = "
    SELECT type, name FROM main.sqlite_schema
    WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
    ORDER BY type <> 'table', type, name";

/// In the order in which it was made, so that it runs from top to bottom.
const STATEMENTS: &str = "
    SELECT sql FROM main.sqlite_schema
    WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
    ORDER BY rowid";

/// A table, view, index or trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaObject {
    pub(crate) name: String,
    pub(crate) object_type: ObjectType,
}

/// All objects that have a name; SQLite allows `CREATE TABLE ""`, but no job can name that.
pub(crate) fn objects(database: &Connection) -> rusqlite::Result<Vec<SchemaObject>> {
    let mut statement = database.prepare(OBJECTS)?;
    let mut rows = statement.query([])?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next()? {
        let object = SchemaObject {
            object_type: object_type(&text(row.get_ref(0)?)),
            name: text(row.get_ref(1)?),
        };
        if !object.name.is_empty() {
            objects.push(object);
        }
    }
    Ok(objects)
}

/// The whole schema as SQL text.
pub(crate) fn sql(database: &Connection) -> rusqlite::Result<String> {
    let mut statement = database.prepare(STATEMENTS)?;
    let mut rows = statement.query([])?;
    let mut script = String::new();
    while let Some(row) = rows.next()? {
        script.push_str(&text(row.get_ref(0)?));
        script.push_str(";\n");
    }
    Ok(script)
}

/// The objects of a saveset: the database, which holds the pages, and what is in it.
pub(crate) fn in_saveset(file: &FileName, objects: Vec<SchemaObject>) -> Vec<SavesetObject> {
    let database = SavesetObject {
        name: file.object_name(),
        object_type: ObjectType::Database,
        parent_name: ObjectName::one("DBC"),
        parent_type: ObjectType::Database,
        table: Some(0),
    };
    let inside = objects.into_iter().map(|object| SavesetObject {
        name: ObjectName::one(object.name),
        object_type: object.object_type,
        parent_name: file.object_name(),
        parent_type: ObjectType::Database,
        table: None,
    });
    std::iter::once(database).chain(inside).collect()
}

/// The same, live. How many bytes a table takes is not known without reading it.
pub(crate) fn in_browser(file: &FileName, objects: Vec<SchemaObject>) -> Vec<BrowsedObject> {
    let browsed = |object: SchemaObject| BrowsedObject {
        name: ObjectName::one(object.name),
        object_type: object.object_type,
        parent_name: file.object_name(),
        parent_type: ObjectType::Database,
        byte_count: None,
    };
    objects.into_iter().map(browsed).collect()
}

fn object_type(word: &str) -> ObjectType {
    match word {
        "table" => ObjectType::Table,
        "view" => ObjectType::View,
        "index" => ObjectType::Index,
        "trigger" => ObjectType::Trigger,
        _ => ObjectType::Other,
    }
}

/// SQLite does not check that text is UTF-8; a wrong byte must not stop a backup.
fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        _ => String::new(),
    }
}
