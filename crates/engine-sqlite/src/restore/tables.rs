//! Single tables out of a saveset's file, into a database that is there or a new one.
//!
//! The saved file lies beside the target as a working file, is attached, and everything happens in one
//! transaction: a table of the same name is renamed first and keeps its rows, indexes and triggers under
//! names that say when and why; the new one is made, filled, and given its own. Views and foreign keys
//! that name it mean the new one from then on. Whoever reads meanwhile sees the old state or the new.

use std::collections::BTreeSet;
use std::path::Path;

use model::{ObjectType, Scope};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::database::open;
use crate::error::SqliteError;
use crate::restore::verify::immutable;
use crate::shape::{Kind, Shape, shapes};
use crate::snapshot::{is_plain_error, quoted};

/// What a kept table's name adds to the old one.
pub(crate) const KEPT: &str = ".before-restore-";

/// A table that is brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its name in the saveset.
    pub(crate) from: String,
    /// Its name in the target.
    pub(crate) to: String,
}

/// The tables that a selection chooses; `None`: the file is meant, not tables of it.
pub(crate) fn wanted(scope: &Scope) -> Result<Option<Vec<Wanted>>, SqliteError> {
    let Scope::Only(chosen) = scope else {
        return Ok(None);
    };
    let one = |object: &model::ChosenObject| {
        let alone = object.object_type == ObjectType::Table && object.name.parts().len() == 1;
        if !alone {
            return Err(SqliteError::NotAlone {
                what: object.to_string(),
                why: "only tables can be, named by one part",
            });
        }
        let to = object.rename_to.as_ref().unwrap_or(&object.name);
        Ok(Wanted {
            from: object.name.last().to_owned(),
            to: to.last().to_owned(),
        })
    };
    let wanted: Vec<Wanted> = chosen.iter().map(one).collect::<Result<_, _>>()?;
    // A name counts without letter case: a second table would take the first one's place.
    let mut taken = BTreeSet::new();
    let twice = wanted
        .iter()
        .find(|table| !taken.insert(table.to.to_lowercase()));
    match twice {
        None => Ok(Some(wanted)),
        Some(table) => Err(SqliteError::NotAlone {
            what: format!("TABLE {} as {}", table.from, table.to),
            why: "another table of the same restore gets that name",
        }),
    }
}

/// Gives the tables of the saved file the names that they will have. The file is ours.
pub(crate) fn rename_saved(path: &Path, wanted: &[Wanted]) -> Result<(), SqliteError> {
    let saved = open_own(path)?;
    let failed = |error| SqliteError::of("renaming tables in", path, error);
    let all = shapes(&saved, "main").map_err(failed)?;
    for table in wanted {
        check(&all, &table.from)?;
    }
    let moved = || wanted.iter().enumerate().filter(|(_, t)| t.from != t.to);
    let between = |place: usize| format!("backstay-restore-{place}");
    for (place, table) in moved() {
        rename(&saved, &table.from, &between(place)).map_err(failed)?;
    }
    for (place, table) in moved() {
        // Not wanted, or it would have another name by now.
        drop_object(&saved, &table.to).map_err(failed)?;
        rename(&saved, &between(place), &table.to).map_err(failed)?;
    }
    saved.close().map_err(|(_, error)| failed(error))
}

fn check(all: &[Shape], name: &str) -> Result<(), SqliteError> {
    let not_alone = |why| SqliteError::NotAlone {
        what: format!("TABLE {name}"),
        why,
    };
    match all.iter().find(|table| table.name == name) {
        None => Err(SqliteError::NoSuchObject {
            what: format!("TABLE {name}"),
        }),
        Some(Shape {
            kind: Kind::Virtual,
            ..
        }) => Err(not_alone(
            "it is a virtual table, whose rows lie in other tables of the file",
        )),
        Some(Shape {
            kind: Kind::Shadow, ..
        }) => Err(not_alone(
            "it holds the rows of a virtual table, and means nothing without it",
        )),
        Some(_) => Ok(()),
    }
}

/// What refers to it follows; where something else in the schema is broken, only what must.
fn rename(database: &Connection, from: &str, to: &str) -> rusqlite::Result<()> {
    let sql = format!("ALTER TABLE {} RENAME TO {}", quoted(from), quoted(to));
    database.pragma_update(None, "legacy_alter_table", false)?;
    match database.execute_batch(&sql) {
        Err(error) if is_plain_error(&error) => {
            database.pragma_update(None, "legacy_alter_table", true)?;
            database.execute_batch(&sql)
        }
        other => other,
    }
}

/// Opens a file that nobody else has.
pub(crate) fn open_own(path: &Path) -> Result<Connection, SqliteError> {
    let database = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let set = || -> rusqlite::Result<()> {
        database.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        database.pragma_update(None, "foreign_keys", false)?;
        // What is left out of a file must not lie in its free pages.
        database.pragma_update(None, "secure_delete", true)
    };
    set().map_err(|error| SqliteError::of("opening", path, error))?;
    Ok(database)
}

/// Drops whatever has that name, if anything.
pub(crate) fn drop_object(database: &Connection, name: &str) -> rusqlite::Result<()> {
    let question = "SELECT type FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE";
    let kind: Option<String> = database
        .query_row(question, [name], |row| row.get(0))
        .optional()?;
    match kind {
        Some(kind) => database.execute_batch(&format!("DROP {kind} main.{}", quoted(name))),
        None => Ok(()),
    }
}

/// Brings tables of a saved file into a database.
pub(crate) struct Bringing<'a> {
    pub(crate) target: &'a Path,
    /// The saved file; its tables have their new names.
    pub(crate) saved: &'a Path,
    pub(crate) names: Vec<&'a str>,
    /// Whether tables of the same name are put aside, or in the way.
    pub(crate) replace: bool,
    pub(crate) skip_indexes: bool,
    /// When, and which execution.
    pub(crate) stamp: String,
}

/// What a person should know of it.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    pub(crate) warnings: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl Bringing<'_> {
    /// All of it, or nothing.
    pub(crate) fn run(&self) -> Result<Brought, SqliteError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI;
        let database = open(self.target, flags)?;
        self.begin(&database).map_err(|error| self.failed(error))?;
        let views = working_views(&database).map_err(|error| self.failed(error))?;
        let mut brought = Brought::default();
        for name in &self.names {
            self.table(&database, name, &mut brought)?;
        }
        let now = working_views(&database).map_err(|error| self.failed(error))?;
        if let Some(view) = views.iter().find(|view| !now.contains(view)) {
            return Err(SqliteError::InTheWay {
                code: "in-the-way".to_owned(),
                detail: format!(
                    "the view {view} of {} cannot be read with the restored table",
                    self.target.display()
                ),
                remedy: Some(
                    "Restore the table under another name (rename_to), or drop the view."
                        .to_owned(),
                ),
            });
        }
        self.foreign_keys(&database, &mut brought)
            .map_err(|error| self.failed(error))?;
        // An early return before this rolls everything back.
        database
            .execute_batch("COMMIT")
            .map_err(|error| self.failed(error))?;
        Ok(brought)
    }

    fn failed(&self, error: rusqlite::Error) -> SqliteError {
        SqliteError::of("restoring tables into", self.target, error)
    }

    fn begin(&self, database: &Connection) -> rusqlite::Result<()> {
        database.execute("ATTACH ?1 AS saved", [immutable(self.saved)])?;
        database.pragma_update(None, "foreign_keys", false)?;
        // Rows that break a rule were in the source: they come back as they were.
        database.pragma_update(None, "ignore_check_constraints", true)?;
        // What names the old table shall mean the new one.
        database.pragma_update(None, "legacy_alter_table", true)?;
        database.execute_batch("BEGIN IMMEDIATE")
    }

    fn table(
        &self,
        database: &Connection,
        name: &str,
        brought: &mut Brought,
    ) -> Result<(), SqliteError> {
        self.make_room(database, name, brought)?;
        let made = || -> rusqlite::Result<()> {
            let sql = "SELECT sql FROM saved.sqlite_schema WHERE type = 'table' AND name = ?1";
            let sql: String = database.query_row(sql, [name], |row| row.get(0))?;
            database.execute_batch(&sql)?;
            let all = shapes(database, "saved")?;
            let shape = all.iter().find(|table| table.name == name);
            let list = shape.map_or_else(String::new, Shape::list);
            let name = quoted(name);
            database.execute_batch(&format!(
                "INSERT INTO main.{name} ({list}) SELECT {list} FROM saved.{name}"
            ))
        };
        made().map_err(|error| self.failed(error))?;
        sequence(database, name).map_err(|error| self.failed(error))?;
        self.attachments(database, name, brought)
            .map_err(|error| self.failed(error))
    }

    /// Puts the table of that name aside, with everything that hangs on it.
    fn make_room(
        &self,
        database: &Connection,
        name: &str,
        brought: &mut Brought,
    ) -> Result<(), SqliteError> {
        let question = "SELECT type, name FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE";
        let found: Option<(String, String)> = database
            .query_row(question, [name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|error| self.failed(error))?;
        let Some((kind, old)) = found else {
            return Ok(());
        };
        let in_the_way = |code: &str, what: String| SqliteError::InTheWay {
            code: code.to_owned(),
            detail: format!("{what} in {}", self.target.display()),
            remedy: Some("Restore the table under another name (rename_to).".to_owned()),
        };
        if kind != "table" {
            return Err(in_the_way(
                "in-the-way",
                format!("there is a {kind} named {old}"),
            ));
        }
        if !self.replace {
            return Err(in_the_way(
                "target-exists",
                format!("there is a table {old} already"),
            ));
        }
        let all = shapes(database, "main").map_err(|error| self.failed(error))?;
        if !all
            .iter()
            .any(|table| table.name == old && table.kind == Kind::Plain)
        {
            return Err(in_the_way(
                "in-the-way",
                format!("{old} is a virtual table, or one that a virtual table needs,"),
            ));
        }
        let kept = self.kept(&old);
        self.aside(database, &old, &kept)
            .map_err(|error| self.failed(error))?;
        brought.notes.push(format!(
            "The table {old} that stood there is kept as {kept}."
        ));
        Ok(())
    }

    fn kept(&self, name: &str) -> String {
        format!("{name}{KEPT}{}", self.stamp)
    }

    fn aside(&self, database: &Connection, old: &str, kept: &str) -> rusqlite::Result<()> {
        let sql = format!(
            "ALTER TABLE main.{} RENAME TO {}",
            quoted(old),
            quoted(kept)
        );
        database.execute_batch(&sql)?;
        // Their names are the new table's now.
        for (kind, name, sql) in hanging(database, "main", kept)? {
            if let Some(again) = renamed(&sql, &self.kept(&name)) {
                database.execute_batch(&format!("DROP {kind} main.{}", quoted(&name)))?;
                database.execute_batch(&again)?;
            }
        }
        Ok(())
    }

    /// Indexes and triggers. One that cannot be made is told and does not end the restore.
    fn attachments(
        &self,
        database: &Connection,
        table: &str,
        brought: &mut Brought,
    ) -> rusqlite::Result<()> {
        for (kind, name, sql) in hanging(database, "saved", table)? {
            if kind == "index" && self.skip_indexes {
                continue;
            }
            let free = free_name(database, &name, table)?;
            let own = if free == name {
                Some(sql.clone())
            } else {
                renamed(&sql, &free)
            };
            if free != name {
                brought.notes.push(format!(
                    "The {kind} {name} is named {free} here: its name is taken."
                ));
            }
            let made = database.execute_batch(&own.unwrap_or_else(|| sql.clone()));
            match made {
                Err(error) if is_plain_error(&error) => brought.warnings.push(format!(
                    "The {kind} {name} of {table} could not be made ({error}): {sql}"
                )),
                other => other?,
            }
        }
        Ok(())
    }

    /// Rows without their parents, in the restored tables and in those that refer to them.
    fn foreign_keys(&self, database: &Connection, brought: &mut Brought) -> rusqlite::Result<()> {
        let mut concerned = Vec::new();
        for table in shapes(database, "main")?
            .into_iter()
            .filter(|t| t.kind == Kind::Plain)
        {
            let refers = "SELECT count(*) > 0 FROM pragma_foreign_key_list(?1, 'main') WHERE \"table\" = ?2 COLLATE NOCASE";
            let mut concerns = self.names.contains(&table.name.as_str());
            for name in &self.names {
                let both = [table.name.as_str(), name];
                let does: bool = database.query_row(refers, both, |row| row.get(0))?;
                concerns |= does;
            }
            if concerns && !table.name.contains(KEPT) {
                concerned.push(table.name);
            }
        }
        for table in concerned {
            let count =
                "SELECT parent, count(*) FROM pragma_foreign_key_check(?1, 'main') GROUP BY parent";
            let ask = || -> rusqlite::Result<Vec<(String, i64)>> {
                let mut statement = database.prepare(count)?;
                let rows = statement.query_map([&table], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            };
            match ask() {
                Ok(broken) => brought.warnings.extend(broken.iter().map(|(parent, rows)| {
                    format!("{rows} rows of {table} refer to rows of {parent} that are not there.")
                })),
                Err(error) if is_plain_error(&error) => brought.warnings.push(format!(
                    "The foreign keys of {table} could not be checked: {error}."
                )),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// AUTOINCREMENT counts on from where the source was.
fn sequence(database: &Connection, table: &str) -> rusqlite::Result<()> {
    let there = "SELECT count(*) > 0 FROM saved.sqlite_schema WHERE name = 'sqlite_sequence'";
    if !database.query_row(there, [], |row| row.get(0))? {
        return Ok(());
    }
    let value = "SELECT seq FROM saved.sqlite_sequence WHERE name = ?1";
    let value: Option<i64> = database
        .query_row(value, [table], |row| row.get(0))
        .optional()?;
    if let Some(value) = value {
        database.execute("DELETE FROM main.sqlite_sequence WHERE name = ?1", [table])?;
        let set = "INSERT INTO main.sqlite_sequence (name, seq) VALUES (?1, ?2)";
        database.execute(set, params![table, value])?;
    }
    Ok(())
}

/// Indexes, then triggers: type, name, SQL. Those of constraints have none.
fn hanging(
    database: &Connection,
    schema: &str,
    table: &str,
) -> rusqlite::Result<Vec<(String, String, String)>> {
    let mut statement = database.prepare(&format!(
        "SELECT type, name, sql FROM {schema}.sqlite_schema
         WHERE type IN ('index', 'trigger') AND sql IS NOT NULL AND tbl_name = ?1 COLLATE NOCASE
         ORDER BY type, rowid"
    ))?;
    let rows = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// The name itself, or one like it that nobody has.
fn free_name(database: &Connection, name: &str, table: &str) -> rusqlite::Result<String> {
    let taken = "SELECT count(*) > 0 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE";
    let mut free = name.to_owned();
    let mut count = 1;
    while database.query_row(taken, [&free], |row| row.get(0))? {
        free = match count {
            1 => format!("{name}_{table}"),
            _ => format!("{name}_{table}_{count}"),
        };
        count += 1;
    }
    Ok(free)
}

/// SQLite keeps the SQL of indexes and triggers with their bare name right behind these words.
fn renamed(sql: &str, name: &str) -> Option<String> {
    let words = ["CREATE INDEX ", "CREATE UNIQUE INDEX ", "CREATE TRIGGER "];
    let start = words.iter().find(|words| sql.starts_with(**words))?;
    let rest = &sql[start.len()..];
    let end = match rest.chars().next()? {
        '[' => rest.find(']')? + 1,
        quote @ ('"' | '`' | '\'') => {
            let mut end = 1;
            loop {
                end += rest[end..].find(quote)? + 1;
                if !rest[end..].starts_with(quote) {
                    break end;
                }
                end += 1;
            }
        }
        _ => rest.find(|c: char| c.is_ascii_whitespace() || c == '(' || c == '/' || c == '-')?,
    };
    Some(format!("{start}{}{}", quoted(name), &rest[end..]))
}

/// Views that can be read now.
pub(crate) fn working_views(database: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = database
        .prepare("SELECT name FROM main.sqlite_schema WHERE type = 'view' ORDER BY name")?;
    let names = statement.query_map([], |row| row.get(0))?;
    let names: rusqlite::Result<Vec<String>> = names.collect();
    let works = |name: &String| {
        let sql = format!("SELECT * FROM main.{} LIMIT 0", quoted(name));
        database.prepare(&sql).is_ok()
    };
    Ok(names?.into_iter().filter(works).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tables_get_one_name() {
        use model::{ChosenObject, ObjectName};
        let table = |from: &str, to: Option<&str>| ChosenObject {
            rename_to: to.map(ObjectName::one),
            ..ChosenObject::new(ObjectName::one(from), ObjectType::Table)
        };
        for (one, other) in [
            (table("a", Some("x")), table("b", Some("X"))),
            (table("a", Some("b")), table("b", None)),
            (table("a", None), table("a", None)),
        ] {
            let error = wanted(&Scope::Only(vec![one, other])).unwrap_err();
            assert!(error.to_string().contains("gets that name"), "{error}");
        }
        let swapped = vec![table("a", Some("b")), table("b", Some("a"))];
        assert_eq!(wanted(&Scope::Only(swapped)).unwrap().unwrap().len(), 2);
    }

    #[test]
    fn the_name_of_an_index_or_trigger_is_replaced_and_nothing_else() {
        let all = [
            ("CREATE INDEX i ON t(i)", "CREATE INDEX \"n\" ON t(i)"),
            (
                "CREATE UNIQUE INDEX \"a\"\"b\" ON t(x)",
                "CREATE UNIQUE INDEX \"n\" ON t(x)",
            ),
            ("CREATE INDEX [a b]ON t(x)", "CREATE INDEX \"n\"ON t(x)"),
            ("CREATE TRIGGER `g`\nAFTER", "CREATE TRIGGER \"n\"\nAFTER"),
            (
                "CREATE TRIGGER 'it''s' BEFORE",
                "CREATE TRIGGER \"n\" BEFORE",
            ),
        ];
        for (sql, expected) in all {
            assert_eq!(renamed(sql, "n").as_deref(), Some(expected));
        }
        assert_eq!(renamed("create index i on t(i)", "n"), None);
    }
}
