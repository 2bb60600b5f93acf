//! Flags that choose what of a site is meant, and the `objects` that they come to.

use clap::Args;
use serde_json::{Value, json};

use crate::error::CommandError;

/// What a job backs up.
#[derive(Debug, Args)]
pub(crate) struct ChosenArgs {
    /// A database; on SQLite the file's name. May be given several times
    #[arg(long, value_name = "DATABASE")]
    database: Vec<String>,
    /// Every database of the site
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
    /// With --database: leave this schema of it out
    #[arg(long, value_name = "DATABASE:SCHEMA", requires = "database")]
    exclude_schema: Vec<String>,
    /// With --database: leave this table of it out
    #[arg(long, value_name = "DATABASE:TABLE", requires = "database")]
    exclude_table: Vec<String>,
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
        let mut settings = json!({ "objects": self.objects()? });
        if self.offline {
            settings["online"] = json!(false);
        }
        Ok(settings)
    }

    fn objects(&self) -> Result<Vec<Value>, CommandError> {
        if self.all_databases {
            let below = self.exclude_database.iter();
            let left_out =
                below.map(|name| json!({"object_name": name, "object_type": "DATABASE"}));
            return Ok(vec![json!({
                "object_name": "DBC",
                "object_type": "DATABASE",
                "include_all": true,
                "exclude_objects": left_out.collect::<Vec<_>>(),
            })]);
        }
        let mut objects: Vec<Value> = self.database.iter().map(|name| whole(name)).collect();
        for (flag, kind, names) in [
            ("--exclude-schema", "SCHEMA", &self.exclude_schema),
            ("--exclude-table", "TABLE", &self.exclude_table),
        ] {
            for given in names {
                let (database, name) = split(flag, given)?;
                let places = self.database.iter().position(|chosen| chosen == database);
                let object = places.and_then(|place| objects.get_mut(place));
                let object = object.ok_or_else(|| {
                    CommandError::Usage(format!(
                        "{flag} {given}: the database {database} is not chosen with --database"
                    ))
                })?;
                if let Some(left_out) = object["exclude_objects"].as_array_mut() {
                    left_out.push(json!({"object_name": name, "object_type": kind}));
                }
            }
        }
        for (flag, kind, names) in [
            ("--schema", "SCHEMA", &self.schema),
            ("--table", "TABLE", &self.table),
        ] {
            for given in names {
                objects.push(single(flag, kind, given, None)?);
            }
        }
        if objects.is_empty() {
            return Err(CommandError::Usage(
                "say what the job backs up: --database, --all-databases, --schema or --table"
                    .to_owned(),
            ));
        }
        Ok(objects)
    }
}

/// What of a saveset a restore brings back, instead of a whole database.
#[derive(Debug, Args)]
pub(crate) struct PartArgs {
    /// Only this table, as shop:public.orders. May be given several times
    #[arg(long, value_name = "DATABASE:TABLE", conflicts_with_all = ["database", "to"])]
    table: Vec<String>,
    /// Only this schema, as shop:sales
    #[arg(long, value_name = "DATABASE:SCHEMA", conflicts_with_all = ["database", "to"])]
    schema: Vec<String>,
    /// The new name of the one table or schema, as public.orders_of_monday
    #[arg(long, value_name = "NAME")]
    rename_to: Option<String>,
}

impl PartArgs {
    /// The objects; `None`: a whole database is meant.
    ///
    /// # Errors
    /// When a flag cannot be read, or one name is to become that of several.
    pub(crate) fn objects(&self) -> Result<Option<Vec<Value>>, CommandError> {
        let count = self.table.len() + self.schema.len();
        if self.rename_to.is_some() && count != 1 {
            return Err(CommandError::Usage(
                "--rename-to goes with exactly one --table or --schema; a database's new name is --to"
                    .to_owned(),
            ));
        }
        let rename_to = self.rename_to.as_deref();
        let tables = self.table.iter().map(|given| ("--table", "TABLE", given));
        let schemas = self
            .schema
            .iter()
            .map(|given| ("--schema", "SCHEMA", given));
        let objects = tables
            .chain(schemas)
            .map(|(flag, kind, given)| single(flag, kind, given, rename_to));
        let objects: Vec<Value> = objects.collect::<Result<_, _>>()?;
        Ok((!objects.is_empty()).then_some(objects))
    }
}

/// The object that means one whole database.
pub(crate) fn whole(name: &str) -> Value {
    json!({
        "object_name": name,
        "object_type": "DATABASE",
        "parent_name": "DBC",
        "parent_type": "DATABASE",
        "include_all": true,
        "exclude_objects": [],
    })
}

fn single(
    flag: &str,
    kind: &str,
    given: &str,
    rename_to: Option<&str>,
) -> Result<Value, CommandError> {
    let (database, name) = split(flag, given)?;
    Ok(json!({
        "object_name": name,
        "object_type": kind,
        "parent_name": database,
        "parent_type": "DATABASE",
        "include_all": kind == "SCHEMA",
        "rename_to": rename_to,
    }))
}

/// `shop:public.orders`: a database, and what is meant in it.
fn split<'a>(flag: &str, given: &'a str) -> Result<(&'a str, &'a str), CommandError> {
    match given.split_once(':') {
        Some((database, name)) if !database.is_empty() && !name.is_empty() => Ok((database, name)),
        _ => Err(CommandError::Usage(format!(
            "{flag} {given}: give the database and the name in it, as shop:public.orders"
        ))),
    }
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

    fn settings(flags: &[&str]) -> Result<Value, String> {
        let words = ["job"].iter().chain(flags);
        let job = Job::try_parse_from(words).map_err(|e| e.to_string())?;
        job.chosen.settings().map_err(|e| e.to_string())
    }

    #[test]
    fn databases_schemas_and_tables_are_told_as_the_api_takes_them() {
        let flags = ["--database", "shop", "--exclude-table", "shop:public.log"];
        let mut shop = whole("shop");
        shop["exclude_objects"] = json!([{"object_name": "public.log", "object_type": "TABLE"}]);
        assert_eq!(settings(&flags).unwrap(), json!({"objects": [shop]}));
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
        let all = settings(&["--all-databases", "--exclude-database", "scratch"]).unwrap();
        assert_eq!(all["objects"][0]["object_name"], "DBC");
        assert_eq!(
            all["objects"][0]["exclude_objects"][0]["object_name"],
            "scratch"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (flags, word) in [
            (&[][..], "say what the job backs up"),
            (&["--table", "orders"], "as shop:public.orders"),
            (
                &["--all-databases", "--database", "shop"],
                "cannot be used with",
            ),
            (
                &["--database", "a", "--exclude-schema", "b:x"],
                "is not chosen",
            ),
        ] {
            let said = settings(flags).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }
}
