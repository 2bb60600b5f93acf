//! Flags that choose what of a site or of a saveset is meant, and the `objects` that they come to.

use clap::Args;
use contract::JobObject;
use model::{ExcludedObject, ObjectName, ObjectType, SelectedObject};
use serde_json::{Value, json};

use crate::cli::without_nulls;
use crate::error::CommandError;

const ROOT: &str = "DBC";

/// What is meant; nothing: whatever the command means then.
#[derive(Debug, Args)]
pub(crate) struct SelectArgs {
    /// A database; on SQLite the file's name. May be given several times
    #[arg(long, value_name = "DATABASE")]
    database: Vec<String>,
    /// Every database
    #[arg(long, conflicts_with_all = ["database", "schema", "table"])]
    all_databases: bool,
    /// A schema with everything in it, as shop:sales
    #[arg(long, value_name = "DATABASE:SCHEMA")]
    schema: Vec<String>,
    /// A table, as shop:public.orders
    #[arg(long, value_name = "DATABASE:TABLE")]
    table: Vec<String>,
    /// With --all-databases: leave this database out
    #[arg(long, value_name = "DATABASE", requires = "all_databases")]
    exclude_database: Vec<String>,
    /// Leave this schema of a --database out; with --all-databases SCHEMA alone is the one of each
    #[arg(long, value_name = "DATABASE:SCHEMA")]
    exclude_schema: Vec<String>,
    /// Leave this table of a --database or a --schema out; with --all-databases TABLE alone is the
    /// one of each
    #[arg(long, value_name = "DATABASE:TABLE")]
    exclude_table: Vec<String>,
}

impl SelectArgs {
    /// The objects, in the order databases, schemas, tables; none where nothing is chosen.
    ///
    /// # Errors
    /// When a flag cannot be read, or leaves something out of what is not chosen.
    pub(crate) fn objects(&self) -> Result<Vec<SelectedObject>, CommandError> {
        if self.all_databases {
            return Ok(vec![self.root()?]);
        }
        let mut objects = Vec::new();
        for text in &self.database {
            objects.push(SelectedObject::whole_database(database(
                "--database",
                text,
            )?));
        }
        for (flag, kind, names) in [
            ("--schema", ObjectType::Schema, &self.schema),
            ("--table", ObjectType::Table, &self.table),
        ] {
            for given in names {
                objects.push(single(flag, kind, given)?);
            }
        }
        for (flag, kind, given) in self.excluded() {
            let (of, name) = split(flag, given)?;
            let holder = objects
                .iter_mut()
                .find(|object| holds(object, &of, &name, kind));
            let holder = holder.ok_or_else(|| {
                let schema = match kind {
                    ObjectType::Table => ", nor the table's schema with --schema",
                    _ => "",
                };
                CommandError::Usage(format!(
                    "{flag} {given}: the database {of} is not chosen with --database{schema}"
                ))
            })?;
            holder.exclude.push(ExcludedObject::new(name, kind));
        }
        Ok(objects)
    }

    fn excluded(&self) -> impl Iterator<Item = (&'static str, ObjectType, &String)> {
        let schemas = self.exclude_schema.iter();
        let tables = self.exclude_table.iter();
        schemas
            .map(|given| ("--exclude-schema", ObjectType::Schema, given))
            .chain(tables.map(|given| ("--exclude-table", ObjectType::Table, given)))
    }

    /// DBC, without what is left out.
    fn root(&self) -> Result<SelectedObject, CommandError> {
        let mut root = SelectedObject {
            parent_name: None,
            parent_type: None,
            ..SelectedObject::whole_database(ObjectName::one(ROOT))
        };
        for text in &self.exclude_database {
            let name = database("--exclude-database", text)?;
            root.exclude
                .push(ExcludedObject::new(name, ObjectType::Database));
        }
        for (flag, kind, given) in self.excluded() {
            let name = match given.contains(':') {
                false => read(flag, given, given)?,
                true => {
                    let (of, name) = split(flag, given)?;
                    // A table of one database is told by three names.
                    let public = match (kind, name.parts()) {
                        (ObjectType::Table, [_]) => "public.",
                        _ => "",
                    };
                    read(flag, given, &format!("{of}.{public}{name}"))?
                }
            };
            root.exclude.push(ExcludedObject::new(name, kind));
        }
        Ok(root)
    }
}

/// Whether something is left out of that object.
fn holds(object: &SelectedObject, of: &ObjectName, name: &ObjectName, kind: ObjectType) -> bool {
    match object.object_type {
        ObjectType::Database => object.name == *of,
        ObjectType::Schema => {
            let schema = name.parts().first().filter(|_| name.parts().len() > 1);
            kind == ObjectType::Table
                && object.parent_name.as_ref() == Some(of)
                && schema.map(String::as_str) == Some(object.name.last())
        }
        _ => false,
    }
}

/// As the API takes them.
pub(crate) fn as_json(objects: &[SelectedObject]) -> Value {
    let shown = objects.iter().map(|object| JobObject::of(object, None));
    Value::Array(shown.map(|object| without_nulls(json!(object))).collect())
}

/// What a job backs up.
#[derive(Debug, Args)]
pub(crate) struct ChosenArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Lock the tables against writes while they are read
    #[arg(long)]
    offline: bool,
}

impl ChosenArgs {
    /// `job_settings`, with the objects and how they are read.
    ///
    /// # Errors
    /// When nothing is chosen, or a flag cannot be read.
    pub(crate) fn settings(&self) -> Result<Value, CommandError> {
        let objects = self.select.objects()?;
        if objects.is_empty() {
            return Err(CommandError::Usage(
                "say what the job backs up: --database, --all-databases, --schema or --table"
                    .to_owned(),
            ));
        }
        let mut settings = json!({ "objects": as_json(&objects) });
        if self.offline {
            settings["online"] = json!(false);
        }
        Ok(settings)
    }
}

/// What of a saveset a restore brings back.
#[derive(Debug, Args)]
pub(crate) struct PartArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// The new name of the one table or schema, as public.orders_of_monday
    #[arg(long, value_name = "NAME")]
    rename_to: Option<String>,
}

impl PartArgs {
    /// The objects; none: the one database of the saveset is meant.
    ///
    /// # Errors
    /// When a flag cannot be read, or one name is to become that of several.
    pub(crate) fn objects(&self) -> Result<Vec<SelectedObject>, CommandError> {
        let mut objects = self.select.objects()?;
        let Some(text) = &self.rename_to else {
            return Ok(objects);
        };
        let is_part = |object: &&mut SelectedObject| object.object_type != ObjectType::Database;
        let mut parts: Vec<&mut SelectedObject> = objects.iter_mut().filter(is_part).collect();
        let [one] = parts.as_mut_slice() else {
            return Err(CommandError::Usage(
                "--rename-to goes with exactly one --table or --schema; a database's new name is --to"
                    .to_owned(),
            ));
        };
        one.rename_to = Some(read("--rename-to", text, text)?);
        Ok(objects)
    }
}

fn single(flag: &str, kind: ObjectType, given: &str) -> Result<SelectedObject, CommandError> {
    let (database, name) = split(flag, given)?;
    Ok(SelectedObject {
        object_type: kind,
        parent_name: Some(database),
        include_all: kind == ObjectType::Schema,
        ..SelectedObject::whole_database(name)
    })
}

/// `shop:public.orders`: a database, and what is meant in it.
fn split(flag: &str, given: &str) -> Result<(ObjectName, ObjectName), CommandError> {
    match given.split_once(':') {
        Some((of, name)) if !of.is_empty() && !name.is_empty() => {
            Ok((database(flag, of)?, read(flag, given, name)?))
        }
        _ => Err(CommandError::Usage(format!(
            "{flag} {given}: give the database and the name in it, as shop:public.orders"
        ))),
    }
}

fn read(flag: &str, given: &str, name: &str) -> Result<ObjectName, CommandError> {
    let read = name.parse();
    read.map_err(|fault| CommandError::Usage(format!("{flag} {given}: {fault}")))
}

fn database(flag: &str, name: &str) -> Result<ObjectName, CommandError> {
    let read = ObjectName::database(name);
    read.map_err(|fault| CommandError::Usage(format!("{flag} {name}: {fault}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Job {
        #[command(flatten)]
        chosen: ChosenArgs,
    }

    #[derive(Debug, Parser)]
    struct Restore {
        #[command(flatten)]
        part: PartArgs,
    }

    fn settings(flags: &[&str]) -> Result<Value, String> {
        let words = ["job"].iter().chain(flags);
        let job = Job::try_parse_from(words).map_err(|e| e.to_string())?;
        job.chosen.settings().map_err(|e| e.to_string())
    }

    fn restored(flags: &[&str]) -> Result<Value, String> {
        let words = ["restore"].iter().chain(flags);
        let restore = Restore::try_parse_from(words).map_err(|e| e.to_string())?;
        let objects = restore.part.objects().map_err(|e| e.to_string())?;
        Ok(as_json(&objects))
    }

    fn left_out(object: &Value) -> Vec<(&str, &str)> {
        let excluded = object["exclude_objects"].as_array().unwrap().iter();
        excluded
            .map(|one| {
                let text = |field: &str| one[field].as_str().unwrap();
                (text("object_type"), text("object_name"))
            })
            .collect()
    }

    #[test]
    fn databases_schemas_and_tables_are_told_as_the_api_takes_them() {
        let flags = [
            "--database",
            "shop.db",
            "--exclude-table",
            "shop.db:public.log",
        ];
        let told = settings(&flags).unwrap();
        let shop = &told["objects"][0];
        assert_eq!(
            (&shop["object_name"], &shop["parent_name"]),
            (&json!("shop.db"), &json!("DBC"))
        );
        assert_eq!(shop["include_all"], true);
        assert_eq!(left_out(shop), [("TABLE", "public.log")]);
        let flags = [
            "--table",
            "shop:public.orders",
            "--schema",
            "shop:sales",
            "--offline",
        ];
        let told = settings(&flags).unwrap();
        assert_eq!(told["online"], false);
        assert_eq!(told["objects"][0]["object_name"], "sales");
        assert_eq!(told["objects"][0]["include_all"], true);
        assert_eq!(told["objects"][1]["parent_name"], "shop");
    }

    #[test]
    fn tables_are_left_out_of_a_schema_and_of_every_database() {
        let flags = [
            "--schema",
            "shop:sales",
            "--exclude-table",
            "shop:sales.log",
        ];
        let told = settings(&flags).unwrap();
        assert_eq!(left_out(&told["objects"][0]), [("TABLE", "sales.log")]);
        let flags = [
            "--all-databases",
            "--exclude-database",
            "scratch",
            "--exclude-schema",
            "tmp",
            "--exclude-schema",
            "shop.db:old",
            "--exclude-table",
            "public.log",
            "--exclude-table",
            "shop.db:log",
        ];
        let told = settings(&flags).unwrap();
        assert_eq!(told["objects"][0]["object_name"], "DBC");
        let expected = [
            ("DATABASE", "scratch"),
            ("SCHEMA", "tmp"),
            ("SCHEMA", "\"shop.db\".old"),
            ("TABLE", "public.log"),
            ("TABLE", "\"shop.db\".public.log"),
        ];
        assert_eq!(left_out(&told["objects"][0]), expected);
    }

    #[test]
    fn a_restore_brings_a_whole_database_and_a_table_of_another() {
        let flags = [
            "--database",
            "crm",
            "--table",
            "shop:orders",
            "--rename-to",
            "old_orders",
        ];
        let told = restored(&flags).unwrap();
        assert_eq!(told[0]["object_name"], "crm");
        assert_eq!(told[0]["rename_to"], Value::Null);
        assert_eq!(told[1]["rename_to"], "old_orders");
        assert_eq!(restored(&[]).unwrap(), json!([]));
        let said = restored(&["--database", "crm", "--rename-to", "x"]).unwrap_err();
        assert!(said.contains("exactly one --table"), "{said}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (flags, word) in [
            (&[][..], "say what the job backs up"),
            (&["--table", "orders"], "as shop:public.orders"),
            (&["--table", "shop:a..b"], "a part of it is empty"),
            (
                &["--all-databases", "--database", "shop"],
                "cannot be used with",
            ),
            (
                &["--database", "a", "--exclude-schema", "b:x"],
                "is not chosen",
            ),
            (
                &["--schema", "a:x", "--exclude-table", "a:y.t"],
                "nor the table's schema with --schema",
            ),
        ] {
            let said = settings(flags).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }
}
