//! What the dump's own table of contents says of what was asked for: whose it is, and what it
//! needs. Enough for a look; the scratch database knows better, and is not made for a look.

use std::collections::{BTreeMap, BTreeSet};

use model::ObjectType;

use crate::restore::dictionary::Dictionary;
use crate::restore::toc::Entry;
use crate::restore::wanted::{Chosen, Wanted};

/// Kinds of which a table can be in need.
const KINDS: [&str; 12] = [
    "AGGREGATE",
    "COLLATION",
    "DOMAIN",
    "EXTENSION",
    "FOREIGN TABLE",
    "FUNCTION",
    "MATERIALIZED VIEW",
    "PROCEDURE",
    "SEQUENCE",
    "TABLE",
    "TYPE",
    "VIEW",
];

/// Entries that belong to an object, and bring needs of their own.
const PARTS: [&str; 9] = [
    "CHECK CONSTRAINT",
    "CONSTRAINT",
    "DEFAULT",
    "INDEX",
    "POLICY",
    "RULE",
    "SEQUENCE OWNED BY",
    "STATISTICS",
    "TRIGGER",
];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Needed<'a> {
    /// What was asked for and is not in the dump.
    pub(super) absent: Vec<&'a Chosen>,
    /// What it needs and does not bring.
    pub(super) entries: Vec<&'a Entry>,
    /// Whose it is.
    pub(super) owners: BTreeSet<String>,
}

impl Needed<'_> {
    /// The extensions among it.
    pub(super) fn extensions(&self) -> BTreeSet<&str> {
        let entries = self.entries.iter();
        entries
            .filter(|entry| entry.kind == "EXTENSION")
            .filter_map(|entry| entry.rest.strip_prefix("- "))
            .map(str::trim_end)
            .collect()
    }
}

/// Looks for what was asked for by name.
pub(super) fn needed<'a>(dictionary: &'a Dictionary, wanted: &'a Wanted) -> Needed<'a> {
    let owners = &dictionary.facts.needs.owners;
    let before = dictionary.before_rows.entries.iter();
    let all: Vec<&Entry> = before.chain(&dictionary.after_rows.entries).collect();
    let by_id: BTreeMap<u32, &Entry> = all.iter().map(|entry| (entry.id, *entry)).collect();
    let mut found = Needed::default();
    let mut brought = BTreeSet::new();
    for chosen in wanted.chosen() {
        let listed = listed(chosen);
        let fits = |entry: &&&Entry| match chosen.kind {
            ObjectType::Schema => {
                entry.kind == "SCHEMA" && entry.listed(owners) == format!("- {listed}")
                    || KINDS.contains(&&*entry.kind)
                        && entry.listed(owners).starts_with(&format!("{listed} "))
            }
            kind => {
                entry.kind == kind.to_string().replace('_', " ") && entry.listed(owners) == listed
            }
        };
        let ids: Vec<u32> = all.iter().filter(fits).map(|entry| entry.id).collect();
        // The schema public is in a dump only where it was changed.
        let is_public = chosen.kind == ObjectType::Schema && listed == "public";
        if ids.is_empty() && !is_public {
            found.absent.push(chosen);
        }
        brought.extend(ids);
    }
    with_partitions_and_sequences(&all, &by_id, &mut brought);
    let parts = all.iter().filter(|entry| {
        PARTS.contains(&&*entry.kind) && entry.needs.iter().any(|id| brought.contains(id))
    });
    let own: Vec<&Entry> = brought
        .iter()
        .filter_map(|id| by_id.get(id).copied())
        .collect();
    let mut needs = BTreeSet::new();
    for entry in own.iter().chain(parts) {
        needs.extend(entry.needs.iter().copied());
    }
    let needs = needs.difference(&brought).filter_map(|id| by_id.get(id));
    found.entries = needs
        .filter(|entry| KINDS.contains(&&*entry.kind))
        .copied()
        .collect();
    let owned = own.iter().filter_map(|entry| entry.owner(owners));
    found.owners = owned.map(str::to_owned).collect();
    found
}

/// A partitioned table brings its partitions, a table its own sequences.
fn with_partitions_and_sequences(
    all: &[&Entry],
    by_id: &BTreeMap<u32, &Entry>,
    brought: &mut BTreeSet<u32>,
) {
    let is = |id: &u32, kind: &str| by_id.get(id).is_some_and(|entry| entry.kind == kind);
    loop {
        let before = brought.len();
        for entry in all {
            let brings = match &*entry.kind {
                // It needs both; the tag is the partition's.
                "TABLE ATTACH" => "TABLE",
                "SEQUENCE OWNED BY" => "SEQUENCE",
                _ => continue,
            };
            if entry
                .needs
                .iter()
                .any(|id| is(id, "TABLE") && brought.contains(id))
            {
                brought.extend(entry.needs.iter().filter(|id| is(id, brings)));
            }
        }
        if brought.len() == before {
            return;
        }
    }
}

/// As pg_restore lists it.
fn listed(chosen: &Chosen) -> String {
    let listed = match chosen.kind {
        ObjectType::Schema => chosen.from.name.clone(),
        _ => format!("{} {}", chosen.from.schema, chosen.from.name),
    };
    listed.replace(['\n', '\r'], " ")
}
