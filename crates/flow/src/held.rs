//! Whether a saveset holds what is asked for, told before anything is opened.

use model::{ChosenObject, DatabaseSelection, ObjectName, ObjectType, SavesetId, SavesetObject};
use vault::{ManifestDraft, Saveset};

use crate::FlowError;

/// Looks for every object that is chosen by itself in the saveset's own list.
///
/// # Errors
/// [`FlowError::NotInSaveset`] or [`FlowError::ObjectNotInSaveset`] for the first that is missing,
/// with the one that was meant perhaps.
pub fn all_held(saveset: &Saveset, asked: &[DatabaseSelection]) -> Result<(), FlowError> {
    all_in(saveset.id(), &saveset.manifest().contents, asked)
}

fn all_in(
    saveset: SavesetId,
    contents: &ManifestDraft,
    asked: &[DatabaseSelection],
) -> Result<(), FlowError> {
    for selection in asked {
        let database = || selection.database.clone();
        let place = contents.place_of(&selection.database);
        let place = place.ok_or_else(|| FlowError::NotInSaveset {
            saveset,
            database: database(),
        })?;
        let objects = &contents.databases[place].objects;
        if objects.is_empty() {
            // Its engine lists none, and looks for itself.
            continue;
        }
        let there = || objects.iter().flat_map(names);
        let missing = selection.unmatched(there()).chosen.into_iter().next();
        if let Some(object) = missing {
            return Err(FlowError::ObjectNotInSaveset {
                saveset,
                database: database(),
                near: nearest(&object, there()),
                object: object.to_string(),
            });
        }
    }
    Ok(())
}

type Named<'a> = (&'a str, &'a str, ObjectType);

/// Schema, name and type; a function's twice: with the types of its arguments, and without.
fn names(object: &SavesetObject) -> impl Iterator<Item = Named<'_>> {
    use ObjectType::{Aggregate, Function, Procedure};
    let (schema, name) = match object.name.parts() {
        [schema, name] => (schema.as_str(), name.as_str()),
        _ => ("", object.name.last()),
    };
    let kind = object.object_type;
    let has_arguments = matches!(kind, Function | Procedure | Aggregate);
    let bare = name.split_once('(').filter(|_| has_arguments);
    let bare = bare.map(|(bare, _)| (schema, bare, kind));
    std::iter::once((schema, name, kind)).chain(bare)
}

/// The object that is written most like it, if any is near enough to have been meant: the same name
/// in another schema or of another type is.
fn nearest<'a>(asked: &ChosenObject, there: impl Iterator<Item = Named<'a>>) -> Option<String> {
    let is_schema = |kind| matches!(kind, ObjectType::Schema | ObjectType::Database);
    let (schema, name) = match asked.name.parts() {
        [.., schema, name] => (schema.as_str(), name.as_str()),
        _ if is_schema(asked.object_type) => ("", asked.name.last()),
        _ => ("public", asked.name.last()),
    };
    let plain = |schema: &str, name: &str| match schema {
        "" => name.to_lowercase(),
        _ => format!("{schema}.{name}").to_lowercase(),
    };
    let wanted = plain(schema, name);
    let enough = 1 + name.len() / 4;
    let near = there.filter_map(|(its_schema, its_name, kind)| {
        let comparable = is_schema(kind) == is_schema(asked.object_type)
            && its_name.len().abs_diff(name.len()) <= enough;
        if !comparable {
            return None;
        }
        // Where things have no schema, nothing is in `public`.
        let its = match its_schema {
            "" if !is_schema(kind) => plain("public", its_name),
            _ => plain(its_schema, its_name),
        };
        let same = its_name.to_lowercase() == name.to_lowercase();
        let distance = match same {
            true => usize::from(its != wanted),
            false => strsim::damerau_levenshtein(&wanted, &its),
        };
        let distance = distance + usize::from(kind != asked.object_type);
        (distance <= enough).then_some((distance, (its_schema, its_name, kind)))
    });
    let (_, (schema, name, kind)) = near.min_by_key(|(distance, _)| *distance)?;
    let name = match schema {
        "" => ObjectName::one(name),
        _ => ObjectName::two(schema, name),
    };
    Some(format!("{kind} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(asked: &str, kind: ObjectType) -> Option<String> {
        use ObjectType::{Function, Schema, Table, View};
        let there = [
            ("public", "orders", Table),
            ("sales", "invoices", Table),
            ("sales", "totals", View),
            ("", "sales", Schema),
            ("public", "paid(order_id integer)", Function),
            ("public", "paid", Function),
        ];
        nearest(
            &ChosenObject::new(asked.parse().unwrap(), kind),
            there.into_iter(),
        )
    }

    #[test]
    fn the_object_that_was_meant_is_named_and_a_stranger_is_not() {
        use ObjectType::{Function, Schema, Table};
        let is = |asked, kind, found: &str| assert_eq!(near(asked, kind).as_deref(), Some(found));
        is("ordres", Table, "TABLE public.orders");
        is("public.Orders", Table, "TABLE public.orders");
        is("invoices", Table, "TABLE sales.invoices");
        is("sales.totals", Table, "VIEW sales.totals");
        is("Sales", Schema, "SCHEMA sales");
        is("payed", Function, "FUNCTION public.paid");
        assert_eq!(near("customers", Table), None);
        assert_eq!(near("orders", Schema), None);
    }

    #[test]
    fn a_function_has_two_names() {
        let object = SavesetObject {
            name: ObjectName::two("public", "paid(order_id integer)"),
            object_type: ObjectType::Function,
            parent_name: ObjectName::one("shop"),
            parent_type: ObjectType::Database,
            table: None,
        };
        let found: Vec<&str> = names(&object).map(|(_, name, _)| name).collect();
        assert_eq!(found, ["paid(order_id integer)", "paid"]);
    }
}
