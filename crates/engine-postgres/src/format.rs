//! BINARY or TEXT, decided for each table.

use model::RowFormat;

use crate::facts::Form;
use crate::fingerprint::Types;
use crate::inventory::{Column, Oid};

/// Built-in types whose binary form means the same on every server from 14 to 18, whatever its
/// settings. Not among them: `money` (its decimals follow lc_monetary), `reg*` (numbers of this
/// server's catalog), `xml`, text search types, types of system views.
const PORTABLE: &[&str] = &[
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "oid",
    "xid8",
    "text",
    "varchar",
    "bpchar",
    "char",
    "name",
    "bytea",
    "bit",
    "varbit",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "uuid",
    "json",
    "jsonb",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "point",
    "lseg",
    "path",
    "box",
    "polygon",
    "line",
    "circle",
    "pg_lsn",
];

/// Written as arrays of numbers.
const VECTORS: [&str; 2] = ["int2vector", "oidvector"];

/// BINARY where every column's binary form means the same on another server.
pub(crate) fn of_table(types: &Types, columns: &[Column]) -> RowFormat {
    match forms(types, columns) {
        Some(_) => RowFormat::Binary,
        None => RowFormat::Text,
    }
}

/// The binary form of each column that COPY reads; `None`: one of them means something else
/// elsewhere.
pub(crate) fn forms(types: &Types, columns: &[Column]) -> Option<Vec<Form>> {
    columns
        .iter()
        .filter(|column| !column.dropped && !column.generated)
        .map(|column| form(types, column.type_oid))
        .collect()
}

fn form(types: &Types, oid: Oid) -> Option<Form> {
    let found = types.get(oid).filter(|found| found.extension.is_none())?;
    let name = found.name.as_str();
    if found.built_in && (PORTABLE.contains(&name) || VECTORS.contains(&name)) {
        return Some(Form::Plain(found.name.clone()));
    }
    match found.kind {
        // The label as text.
        'e' => Some(Form::Label),
        'd' => form(types, found.base),
        'r' => Some(Form::Range(Box::new(form(types, found.subtype)?))),
        'm' => Some(Form::Multirange(Box::new(form(types, found.subtype)?))),
        // An array's binary form names its element type by OID, which is the same everywhere only
        // for what is built in.
        'b' if found.element != 0 => {
            types.get(found.element).filter(|e| e.built_in)?;
            Some(Form::Array(Box::new(form(types, found.element)?)))
        }
        // A composite's names the types of its attributes by OID.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Type;
    use std::collections::HashMap;

    fn a_type(name: &str, kind: char, built_in: bool) -> Type {
        Type {
            name: name.into(),
            kind,
            element: 0,
            base: 0,
            typmod: -1,
            relation: 0,
            subtype: 0,
            built_in,
            extension: None,
        }
    }

    #[test]
    fn the_binary_form_is_taken_only_where_it_means_the_same_elsewhere() {
        let mut types = HashMap::new();
        types.insert(23, a_type("int4", 'b', true));
        types.insert(2205, a_type("regclass", 'b', true));
        types.insert(790, a_type("money", 'b', true));
        types.insert(20000, a_type("mood", 'e', false));
        types.insert(20001, a_type("pair", 'c', false));
        types.insert(
            20002,
            Type {
                base: 23,
                ..a_type("positive", 'd', false)
            },
        );
        types.insert(
            1007,
            Type {
                element: 23,
                ..a_type("_int4", 'b', true)
            },
        );
        types.insert(
            20003,
            Type {
                element: 20000,
                ..a_type("_mood", 'b', false)
            },
        );
        types.insert(
            3904,
            Type {
                subtype: 23,
                ..a_type("int4range", 'r', true)
            },
        );
        types.insert(
            20004,
            Type {
                extension: Some("hstore 1.8".into()),
                ..a_type("hstore", 'b', false)
            },
        );
        let types = Types::of(types);
        for oid in [23, 20000, 20002, 1007, 3904] {
            assert!(form(&types, oid).is_some(), "{oid}");
        }
        for oid in [2205, 790, 20001, 20003, 20004, 99999] {
            assert!(form(&types, oid).is_none(), "{oid}");
        }
    }
}
