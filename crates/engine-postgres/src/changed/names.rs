//! Types that print names of other objects: what a row shows changes when somebody renames one, and no
//! block of the row does.

use std::collections::BTreeSet;

use crate::inventory::{Inventory, Oid, Table};

/// Roles and rights, printed by name.
const ACCESS: &str = "aclitem";

/// Whether a column of the table prints names: a `reg…` type, an access list, or a type made of them.
pub(crate) fn print_names(inventory: &Inventory, table: &Table) -> bool {
    let mut seen = BTreeSet::new();
    let columns = inventory.columns_of(table.oid).iter();
    let mut columns = columns.filter(|column| !column.dropped);
    columns.any(|column| prints(inventory, column.type_oid, &mut seen))
}

fn prints(inventory: &Inventory, oid: Oid, seen: &mut BTreeSet<Oid>) -> bool {
    let Some(found) = inventory.types.get(oid).filter(|_| seen.insert(oid)) else {
        return false;
    };
    if found.built_in && (found.name.starts_with("reg") || found.name == ACCESS) {
        return true;
    }
    let parts = [found.element, found.base, found.subtype];
    if parts
        .into_iter()
        .any(|part| part != 0 && prints(inventory, part, seen))
    {
        return true;
    }
    if found.kind != 'c' {
        return false;
    }
    let attributes = inventory.columns_of(found.relation);
    // The row of a system catalog: its columns are not read, and most of them have such a type.
    attributes.is_empty() && found.built_in
        || attributes
            .iter()
            .filter(|attribute| !attribute.dropped)
            .any(|attribute| prints(inventory, attribute.type_oid, seen))
}
