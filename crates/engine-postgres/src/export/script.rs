//! The scripts that psql loads an export with.
//!
//! A command of psql that begins with a backslash ends with its line, and psql knows no way to write
//! a line feed in it. So a table whose name or columns hold one is loaded into a temporary table
//! first; and so is one whose names would have to be written in the encoding of its binary rows.

use std::fmt::Write;

use super::rows::{Content, TableFile};
use super::schema::{AFTER_ROWS, BEFORE_ROWS, EVENT_TRIGGERS, RIGHTS, STATISTICS, SUBSCRIPTIONS};
use crate::facts::{DatabaseFacts, SequenceFacts, TableFacts, TableKind};
use crate::restore::{database_locale, database_statements, ident, literal, qualified};

pub(super) const LOAD: &str = "load.sql";
pub(super) const CREATE: &str = "create.sql";
pub(super) const ROWS: &str = "rows.sql";
pub(super) const SEQUENCES: &str = "sequences.sql";
pub(super) const LARGE_OBJECTS: &str = "large-objects.sql";
pub(super) const LARGE_OBJECT_RIGHTS: &str = "large-object-rights.sql";
pub(super) const VIEWS: &str = "views.sql";
pub(super) const SETTINGS: &str = "settings.sql";

/// How many values one statement sets.
const BATCH: usize = 200;

/// The database that psql is connected to, as psql itself puts it in.
const CONNECTED: &str = ":\"DBNAME\"";

/// What the other scripts are about.
pub(super) struct Parts<'a> {
    pub(super) facts: &'a DatabaseFacts,
    /// The names of all scripts and other files that were written.
    pub(super) written: &'a [&'static str],
    /// Why there is no SQL of the objects.
    pub(super) without_schema: Option<&'a str>,
}

const LOAD_HEAD: &str = "\
-- Loads this export into the database that psql is connected to, which must be an empty one.
-- Run it from the directory that it lies in:
--     psql -X -f globals.sql postgres      makes the roles and tablespaces (errors: it is there)
--     psql -X -f create.sql postgres       makes the database as it was, and loads it
-- or  psql -X -f load.sql NAME             loads into an empty database of any name
-- It stops at the first error; with -v keep_going=1 it goes on.
\\if :{?keep_going}
\\else
\\set ON_ERROR_STOP on
\\endif
\\set QUIET on
\\encoding UTF8
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET standard_conforming_strings = on;
SET check_function_bodies = off;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET DateStyle = ISO;
SET IntervalStyle = postgres;
SET TimeZone = 'UTC';
SELECT pg_catalog.set_config('search_path', '', false) AS backstay_path,
       pg_catalog.current_setting('server_version_num')::int4 < 150000 AS backstay_14,
       pg_catalog.current_setting('server_version_num')::int4 >= 180000 AS backstay_18 \\gset
";

impl Parts<'_> {
    fn has(&self, name: &str) -> bool {
        self.written.contains(&name)
    }

    /// `load.sql`.
    pub(super) fn load(&self) -> String {
        let mut script = LOAD_HEAD.to_owned();
        if self.without_schema.is_some() {
            script.push_str(WITHOUT_SCHEMA);
            return script;
        }
        // pg_restore's scripts are in the database's encoding, and say so; ours are in UTF8.
        let include = |script: &mut String, name: &str| {
            if self.has(name) {
                let _ = writeln!(script, "\\encoding UTF8\n\\echo {name}\n\\i {name}");
            }
        };
        self.schema_public(&mut script);
        for name in [BEFORE_ROWS, LARGE_OBJECTS, ROWS] {
            include(&mut script, name);
        }
        include(&mut script, AFTER_ROWS);
        for name in [SEQUENCES, LARGE_OBJECT_RIGHTS, RIGHTS, VIEWS] {
            include(&mut script, name);
        }
        if self.has(STATISTICS) {
            script.push_str("\\if :backstay_18\n");
            include(&mut script, STATISTICS);
            script.push_str("\\else\nANALYZE;\n\\endif\n");
        } else {
            script.push_str("ANALYZE;\n");
        }
        include(&mut script, EVENT_TRIGGERS);
        include(&mut script, SETTINGS);
        if self.has(SUBSCRIPTIONS) {
            let _ = writeln!(script, "\\echo Not loaded: {SUBSCRIPTIONS}");
        }
        script.push_str("\\echo Loaded.\n");
        script
    }

    /// A new database has the schema public, and on 14 everybody may make objects in it.
    fn schema_public(&self, script: &mut String) {
        let needs = &self.facts.needs;
        if needs.block_size == 0 {
            return;
        }
        if !needs.schemas.iter().any(|name| name == "public") {
            script.push_str("DROP SCHEMA IF EXISTS public;\n");
        } else if needs.public_schema_open == Some(false) {
            script.push_str(
                "\\if :backstay_14\nREVOKE CREATE ON SCHEMA public FROM PUBLIC;\n\\endif\n",
            );
        }
    }

    /// `create.sql`.
    pub(super) fn create(&self) -> String {
        let facts = self.facts;
        // As psql reads it behind \connect, whatever the name is; put together by SQL, since a name
        // may hold a line feed.
        let conninfo = facts.name.replace('\\', "\\\\").replace('\'', "\\'");
        let conninfo = literal(&format!("dbname='{conninfo}'"));
        format!(
            "-- Makes the database as it was, and loads it. Run it from the directory that it lies in.\n\
             \\set ON_ERROR_STOP on\n\\encoding UTF8\nSET standard_conforming_strings = on;\n\
             CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding}{locale};\n\
             SELECT {conninfo} AS backstay_database \\gset\n\
             \\connect -reuse-previous=on :backstay_database\n\\i {LOAD}\n",
            name = ident(&facts.name),
            encoding = literal(&facts.encoding),
            locale = database_locale(facts, facts.server_version_num / 10_000),
        )
    }

    /// `settings.sql`: what belongs to the database itself.
    pub(super) fn settings(&self) -> String {
        let mut script = String::new();
        if self.facts.grants.is_some() {
            let _ = writeln!(script, "REVOKE ALL ON DATABASE {CONNECTED} FROM PUBLIC;");
        }
        for statement in database_statements(CONNECTED, self.facts) {
            let _ = writeln!(script, "{statement};");
        }
        script
    }

    /// `views.sql`: fills the materialized views that were filled, in the order that they need.
    pub(super) fn views(&self) -> String {
        let query = include_str!("../../sql/views_in_order_14.sql");
        let query = query.trim_end().trim_end_matches(';');
        let unfilled = &self.facts.needs.unfilled_views;
        let unfilled: Vec<String> = unfilled
            .iter()
            .map(|view| format!("({}, {})", literal(&view.schema), literal(&view.name)))
            .collect();
        let but = match unfilled.is_empty() {
            true => String::new(),
            false => format!("\nWHERE (v.s, v.n) NOT IN ({})", unfilled.join(", ")),
        };
        format!(
            "SET row_security = on;\n\
             SELECT pg_catalog.format('REFRESH MATERIALIZED VIEW %I.%I', v.s, v.n)\nFROM (\n{query}\n) AS v (s, n){but}\n\\gexec\n"
        )
    }
}

const WITHOUT_SCHEMA: &str = "\
\\echo pg_restore was not found when this was exported, so that the objects are in schema.dump alone.
\\echo Load it in four steps, with NAME for an empty database:
\\echo '  pg_restore --section=pre-data -d NAME schema.dump'
\\echo '  psql -X -f rows.sql NAME     (and large-objects.sql before it, if it is here)'
\\echo '  pg_restore --section=post-data -d NAME schema.dump'
\\echo '  psql -X -f sequences.sql NAME, and the same with every other .sql file but create.sql'
";

/// Statements that set the values of sequences.
pub(super) fn sequences(all: &[SequenceFacts]) -> String {
    let mut script = String::new();
    for some in all.chunks(BATCH) {
        let values: Vec<String> = some
            .iter()
            .map(|sequence| {
                let name = literal(&qualified(&sequence.schema, &sequence.name));
                format!("({name}, {}, {})", sequence.last_value, sequence.is_called)
            })
            .collect();
        let _ = writeln!(
            script,
            "SELECT pg_catalog.count(pg_catalog.setval(s::pg_catalog.regclass, v, c)) AS backstay_count FROM (VALUES\n{}\n) AS x (s, v, c) \\gset",
            values.join(",\n")
        );
    }
    script
}

/// Makes large objects, empty.
pub(super) fn make_large_objects(oids: &[u32]) -> String {
    let oids: Vec<String> = oids.iter().map(u32::to_string).collect();
    format!(
        "SELECT pg_catalog.count(pg_catalog.lo_create(o)) AS backstay_count FROM pg_catalog.unnest('{{{}}}'::pg_catalog.oid[]) AS o \\gset\n",
        oids.join(",")
    )
}

/// Loads what a file holds.
pub(super) fn load_table(table: &TableFile, page_bytes: u32) -> String {
    match table.facts.kind {
        TableKind::LargeObjects => large_objects(table, page_bytes),
        TableKind::Rows if is_awkward(table) => through_temporary(table),
        TableKind::Rows => {
            let columns = columns(&table.facts);
            copy(table, &format!("{}{columns}", target(&table.facts)))
        }
    }
}

fn target(facts: &TableFacts) -> String {
    match &facts.load_through {
        Some(root) => qualified(&root.schema, &root.name),
        None => qualified(&facts.schema, &facts.name),
    }
}

fn columns(facts: &TableFacts) -> String {
    match facts.columns.is_empty() {
        true => String::new(),
        false => format!(" ({})", names(facts)),
    }
}

fn names(facts: &TableFacts) -> String {
    let names: Vec<String> = facts.columns.iter().map(|c| ident(c)).collect();
    names.join(", ")
}

/// Whether its names cannot stand in a command of psql.
fn is_awkward(table: &TableFile) -> bool {
    let facts = &table.facts;
    let names = format!("{}{}", target(facts), columns(facts));
    let in_rows_encoding = table.content == Content::Binary && facts.encoding != "UTF8";
    names.contains(['\n', '\r']) || in_rows_encoding && !names.is_ascii()
}

/// `\copy`, with the encoding that the rows have.
fn copy(table: &TableFile, into: &str) -> String {
    let (file, encoding) = (&table.file, literal(&table.facts.encoding));
    match table.content {
        Content::Text => {
            format!("\\copy {into} FROM '{file}' WITH (FORMAT text, ENCODING {encoding})\n")
        }
        Content::Csv => format!(
            "\\copy {into} FROM '{file}' WITH (FORMAT csv, HEADER true, ENCODING {encoding})\n"
        ),
        // Texts in binary rows follow client_encoding alone.
        Content::Binary if table.facts.encoding != "UTF8" => format!(
            "SET client_encoding = {encoding};\n\\copy {into} FROM '{file}' WITH (FORMAT binary)\nSET client_encoding = 'UTF8';\n"
        ),
        Content::Binary => format!("\\copy {into} FROM '{file}' WITH (FORMAT binary)\n"),
    }
}

fn through_temporary(table: &TableFile) -> String {
    let (target, names) = (target(&table.facts), names(&table.facts));
    let columns = columns(&table.facts);
    format!(
        "CREATE TEMPORARY TABLE backstay_rows AS SELECT {names} FROM {target} WITH NO DATA;\n{}\
         INSERT INTO {target}{columns} OVERRIDING SYSTEM VALUE SELECT * FROM pg_temp.backstay_rows;\n\
         DROP TABLE pg_temp.backstay_rows;\n",
        copy(table, "pg_temp.backstay_rows")
    )
}

fn large_objects(table: &TableFile, page_bytes: u32) -> String {
    format!(
        "CREATE TEMPORARY TABLE backstay_pages (loid pg_catalog.oid, pageno pg_catalog.int4, data pg_catalog.bytea);\n\
         \\copy pg_temp.backstay_pages FROM '{}' WITH (FORMAT binary)\n\
         SELECT pg_catalog.count(*) AS backstay_count FROM (\n\
         SELECT pg_catalog.lo_put(loid, pageno::pg_catalog.int8 * {page_bytes}, data) FROM pg_temp.backstay_pages OFFSET 0) AS written \\gset\n\
         DROP TABLE pg_temp.backstay_pages;\n",
        table.file
    )
}
