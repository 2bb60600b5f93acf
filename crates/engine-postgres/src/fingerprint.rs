//! The shape of a table's rows: everything that changes what COPY prints and touches no block.
//!
//! By column number: name, type, modifier, missing value, generated; and for every type reached
//! from there, recursively: labels by OID, attributes by number, and the version of the extension
//! that owns it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use crate::changed::Rule;
use crate::error::PostgresError;
use crate::inventory::{Column, Inventory, Oid, Table};
use crate::session::Session;

/// A type.
#[derive(Debug, Clone)]
pub(crate) struct Type {
    pub name: String,
    /// `b` base, `c` composite, `d` domain, `e` enum, `p` pseudo, `r` range, `m` multirange.
    pub kind: char,
    /// Of an array.
    pub element: Oid,
    /// Of a domain.
    pub base: Oid,
    /// Of a domain.
    pub typmod: i32,
    /// Of a composite type.
    pub relation: Oid,
    /// Of a range or multirange.
    pub subtype: Oid,
    /// In `pg_catalog`.
    pub built_in: bool,
    /// The extension that owns it, and its version.
    pub extension: Option<String>,
}

/// An enum's label.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub oid: Oid,
    pub text: String,
    /// Which transaction wrote it last.
    pub version: String,
}

/// All types of a database.
pub(crate) struct Types {
    types: HashMap<Oid, Type>,
    labels: HashMap<Oid, Vec<Label>>,
}

impl Types {
    /// Reads them in the session's transaction.
    pub(crate) async fn read(session: &Session) -> Result<Types, PostgresError> {
        let doing = "reading the types";
        let sql = include_str!("../sql/types_14.sql");
        let mut types = HashMap::new();
        for row in session.rows(sql, &[], doing).await? {
            let read = Type {
                name: row.get(1),
                kind: row.get::<_, String>(2).chars().next().unwrap_or('b'),
                element: row.get(3),
                base: row.get(4),
                typmod: row.get(5),
                relation: row.get(6),
                subtype: row.get(7),
                built_in: row.get(8),
                extension: row.get(9),
            };
            types.insert(row.get(0), read);
        }
        let sql = include_str!("../sql/labels_14.sql");
        let mut labels: HashMap<Oid, Vec<Label>> = HashMap::new();
        for row in session.rows(sql, &[], doing).await? {
            labels.entry(row.get(0)).or_default().push(Label {
                oid: row.get(1),
                text: row.get(2),
                version: row.get(3),
            });
        }
        Ok(Types { types, labels })
    }

    /// A type by its OID.
    pub(crate) fn get(&self, oid: Oid) -> Option<&Type> {
        self.types.get(&oid)
    }

    #[cfg(test)]
    pub(crate) fn of(types: HashMap<Oid, Type>) -> Types {
        Types {
            types,
            labels: HashMap::new(),
        }
    }
}

/// The shape of a table, as hex of a BLAKE3 hash.
pub(crate) fn shape(inventory: &Inventory, table: &Table) -> String {
    if !Rule::SameShape.holds() {
        return "any".into();
    }
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    let columns = inventory.columns_of(table.oid);
    describe_columns(&mut text, columns);
    let condition = table.condition.as_deref().unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = write!(text, "condition {condition:?};");
    for column in columns.iter().filter(|column| !column.dropped) {
        describe_type(inventory, column.type_oid, &mut seen, &mut text);
    }
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn describe_columns(text: &mut String, columns: &[Column]) {
    for column in columns {
        if column.dropped {
            let _ = write!(text, "{} dropped;", column.number);
            continue;
        }
        let _ = write!(
            text,
            "{} {:?} {} {} {:?} {};",
            column.number,
            column.name,
            column.type_oid,
            column.typmod,
            column.missing,
            column.generated
        );
    }
}

fn describe_type(inventory: &Inventory, oid: Oid, seen: &mut BTreeSet<Oid>, text: &mut String) {
    let types = &inventory.types;
    let Some(found) = types.get(oid).filter(|_| seen.insert(oid)) else {
        return;
    };
    // Its name is of no importance, except for what is built in: OIDs of these never change.
    let _ = write!(
        text,
        "type {oid} {} {} {} {} {:?};",
        found.kind, found.element, found.base, found.typmod, found.extension
    );
    for label in types.labels.get(&oid).into_iter().flatten() {
        let _ = write!(text, "label {} {:?};", label.oid, label.text);
    }
    for next in [found.element, found.base, found.subtype] {
        if next != 0 {
            describe_type(inventory, next, seen, text);
        }
    }
    if found.kind == 'c' {
        let columns = inventory.columns_of(found.relation);
        describe_columns(text, columns);
        for column in columns.iter().filter(|column| !column.dropped) {
            describe_type(inventory, column.type_oid, seen, text);
        }
    }
}

/// What locks do not hold, per table: its schema and name, its shape, and which transactions wrote
/// the schema's row and the labels last. Two schemas or labels that were swapped while rows were
/// read, and swapped back, leave the same names but not the same transactions.
pub(crate) struct Unlocked {
    tables: BTreeMap<Oid, (String, String)>,
}

impl Unlocked {
    /// Of these tables, as an inventory has them.
    pub(crate) fn of(inventory: &Inventory) -> Unlocked {
        let token = |table: &Table| {
            let mut seen = BTreeSet::new();
            let mut text = String::new();
            for column in inventory.columns_of(table.oid) {
                if !column.dropped {
                    describe_type(inventory, column.type_oid, &mut seen, &mut text);
                }
            }
            let mut versions = format!("{};{};", table.schema_version, shape(inventory, table));
            for oid in seen {
                for label in inventory.types.labels.get(&oid).into_iter().flatten() {
                    let _ = write!(versions, "{} {};", label.oid, label.version);
                }
            }
            versions
        };
        let tables = inventory
            .tables
            .iter()
            .map(|table| (table.oid, (table.qualified(), token(table))));
        Unlocked {
            tables: tables.collect(),
        }
    }

    /// What is different in `later`, as a sentence; tables that are new there do not count.
    pub(crate) fn difference(&self, later: &Unlocked) -> Option<String> {
        self.tables
            .iter()
            .find_map(|(oid, (name, token))| match later.tables.get(oid) {
                None => Some(format!("{name} is gone")),
                Some((new_name, _)) if new_name != name => {
                    Some(format!("{name} is named {new_name} now"))
                }
                Some((_, new_token)) if new_token != token => Some(format!(
                    "a type of {name}, its schema or an extension was changed"
                )),
                Some(_) => None,
            })
    }
}
