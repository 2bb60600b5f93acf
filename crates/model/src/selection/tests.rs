use proptest::prelude::*;

use super::*;

fn name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

fn object(kind: ObjectType, text: &str, parent: Option<&str>) -> SelectedObject {
    SelectedObject {
        name: name(text),
        object_type: kind,
        parent_name: parent.map(name),
        parent_type: parent.map(|_| ObjectType::Database),
        include_all: matches!(kind, ObjectType::Database | ObjectType::Schema),
        exclude: Vec::new(),
        rename_to: None,
    }
}

fn without(mut object: SelectedObject, excluded: &[(ObjectType, &str)]) -> SelectedObject {
    let excluded = excluded.iter();
    object.exclude = excluded
        .map(|(kind, text)| ExcludedObject::new(name(text), *kind))
        .collect();
    object
}

fn sorted(
    objects: Vec<SelectedObject>,
    live: &[&str],
) -> Result<Vec<DatabaseSelection>, SelectionFault> {
    let live: Vec<ObjectName> = live.iter().map(|one| ObjectName::one(*one)).collect();
    Selection { objects }.by_database(&live)
}

use ObjectType::{Database, Function, Schema, Table, View};

#[test]
fn dbc_is_every_database_but_those_left_out() {
    let dbc = without(
        object(Database, "DBC", None),
        &[
            (Database, "scratch"),
            (Table, "log"),
            (Table, "shop.audit.trail"),
            (Schema, "tmp"),
            (Schema, "crm.old"),
        ],
    );
    let found = sorted(vec![dbc], &["crm", "scratch", "shop"]).unwrap();
    let names: Vec<&str> = found.iter().map(|one| one.database.last()).collect();
    assert_eq!(names, ["crm", "shop"]);
    let (crm, shop) = (&found[0], &found[1]);
    for one in [crm, shop] {
        assert!(!one.takes("public", "log", Table));
        assert!(one.takes("audit", "log", Table));
        assert!(!one.takes("tmp", "x", View));
        assert!(!one.takes("", "tmp", Schema));
    }
    assert!(crm.takes("audit", "trail", Table) && !shop.takes("audit", "trail", Table));
    assert!(!crm.takes("old", "x", Table) && shop.takes("old", "x", Table));
    // `log` and `tmp` are meant wherever they are; the trail of shop must be there.
    let nothing = shop.unmatched(std::iter::empty());
    let missing: Vec<String> = nothing.excluded.iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["TABLE audit.trail"]);
}

#[test]
fn a_database_that_is_left_out_of_dbc_and_not_there_is_named() {
    let dbc = without(object(Database, "DBC", None), &[(Database, "gone")]);
    let selection = Selection { objects: vec![dbc] };
    assert!(selection.needs_the_list());
    let missing = selection.unmatched_databases(&[ObjectName::one("shop")]);
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].to_string(), "DATABASE gone");
}

#[test]
fn several_databases_schemas_and_tables_are_sorted_by_database() {
    let mut orders = object(Table, "orders", Some("shop"));
    orders.rename_to = Some(name("orders_old"));
    let found = sorted(
        vec![
            orders,
            object(Database, "crm", Some("DBC")),
            object(Schema, "sales", Some("shop")),
            object(Function, "shop.public.f", None),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(found.len(), 2);
    let (shop, crm) = (&found[0], &found[1]);
    assert!(crm.is_whole() && !shop.is_whole());
    assert!(shop.takes("public", "orders", Table));
    assert!(!shop.takes("public", "orders", View), "the type counts");
    assert!(!shop.takes("other", "orders", Table));
    assert!(shop.takes("sales", "anything", View) && shop.takes("", "sales", Schema));
    assert!(shop.takes("public", "f", Function) && !shop.takes("public", "g", Function));
    let renamed = shop.chosen("public", "orders", Table).unwrap();
    assert_eq!(renamed.rename_to, Some(name("orders_old")));
    assert_eq!(shop.chosen("public", "customers", Table), None);
}

#[test]
fn below_a_database_a_database_means_the_schema_of_that_name() {
    let shop = without(
        object(Database, "shop", Some("DBC")),
        &[
            (Database, "audit"),
            (Table, "shop.public.log"),
            (Table, "x"),
        ],
    );
    let found = sorted(vec![shop], &[]).unwrap();
    let shop = &found[0];
    assert!(!shop.takes("audit", "a", Table) && !shop.takes("", "audit", Schema));
    assert!(!shop.takes("public", "log", Table) && !shop.takes("public", "x", Table));
    assert!(shop.takes("public", "log", View));
    let there = [("public", "log", Table), ("", "audit", Schema)];
    let unmatched = shop.unmatched(there.into_iter());
    assert_eq!(unmatched.chosen, []);
    assert_eq!(unmatched.excluded.len(), 1);
    assert_eq!(unmatched.excluded[0].to_string(), "TABLE x");
}

#[test]
fn a_schema_is_chosen_without_what_is_left_out_of_it() {
    let sales = without(
        object(Schema, "sales", Some("shop")),
        &[(Table, "log"), (Table, "sales.old"), (Table, "missing")],
    );
    let found = sorted(vec![sales, object(Table, "nowhere", Some("shop"))], &[]).unwrap();
    let shop = &found[0];
    assert!(shop.takes("sales", "orders", Table));
    assert!(!shop.takes("sales", "log", Table) && !shop.takes("sales", "old", Table));
    assert!(!shop.takes("public", "log", Table), "it is another schema");
    let there = [("sales", "log", Table), ("sales", "old", Table)];
    let unmatched = shop.unmatched(there.into_iter());
    assert_eq!(unmatched.chosen[0].to_string(), "TABLE nowhere");
    assert_eq!(unmatched.excluded[0].to_string(), "TABLE sales.missing");
    assert_eq!((unmatched.chosen.len(), unmatched.excluded.len()), (1, 1));
}

#[test]
fn a_table_may_be_placed_by_its_schema_too() {
    let mut orders = object(Table, "orders", Some("shop.sales"));
    orders.parent_type = Some(Schema);
    let found = sorted(vec![orders.clone()], &[]).unwrap();
    assert_eq!(found[0].database, name("shop"));
    assert!(found[0].takes("sales", "orders", Table));
    orders.parent_name = Some(name("sales"));
    let fault = sorted(vec![orders], &[]).unwrap_err();
    assert!(matches!(fault, SelectionFault::NoDatabase(_)), "{fault}");
}

#[test]
fn lists_that_contradict_themselves_are_refused() {
    let shop = || object(Database, "shop", Some("DBC"));
    let dbc = || object(Database, "DBC", None);
    let orders = || object(Table, "orders", Some("shop"));
    let empty = |mut one: SelectedObject| {
        one.include_all = false;
        one
    };
    let refused = |objects: Vec<SelectedObject>| sorted(objects, &["shop"]).unwrap_err();
    for (fault, fits) in [
        (refused(vec![]), "nothing is selected"),
        (refused(vec![dbc(), shop()]), "DATABASE shop beside it"),
        (refused(vec![dbc(), dbc()]), "twice"),
        (refused(vec![shop(), orders()]), "whole, and objects"),
        (refused(vec![orders(), shop()]), "whole, and objects"),
        (refused(vec![shop(), shop()]), "twice"),
        (
            refused(vec![orders(), object(Table, "public.orders", Some("shop"))]),
            "twice",
        ),
        (refused(vec![empty(shop())]), "hold nothing"),
        (refused(vec![empty(dbc())]), "hold nothing"),
        (
            refused(vec![object(Table, "orders", None)]),
            "names no database",
        ),
        (
            refused(vec![object(Table, "crm.public.x", Some("shop"))]),
            "another place",
        ),
        (
            refused(vec![without(orders(), &[(Table, "x")])]),
            "nothing below",
        ),
        (
            refused(vec![without(shop(), &[(Table, "crm.public.x")])]),
            "another place",
        ),
        (
            refused(vec![without(dbc(), &[(Database, "shop")])]),
            "every database of the site is left out",
        ),
    ] {
        assert!(fault.to_string().contains(fits), "{fault}: {fits}");
    }
    assert!(
        sorted(vec![dbc()], &[])
            .unwrap_err()
            .to_string()
            .contains("no database")
    );
}

#[test]
fn a_stored_list_of_before_renames_is_read() {
    let text = r#"{"objects":[{"name":"shop","object_type":"DATABASE","parent_name":"DBC",
        "parent_type":"DATABASE","include_all":true,"exclude":[{"name":"a","object_type":"TABLE"}]}]}"#;
    let selection: Selection = serde_json::from_str(text).unwrap();
    assert_eq!(selection.objects[0].rename_to, None);
    assert!(!selection.objects[0].exclude[0].everywhere);
}

fn kinds() -> impl Strategy<Value = ObjectType> {
    prop::sample::select(vec![Table, View, Function])
}

fn things() -> impl Strategy<Value = Vec<(String, String, ObjectType)>> {
    let schema = prop::sample::select(vec!["public", "a", "b"]);
    let own = prop::sample::select(vec!["x", "y", "a", "public"]);
    let thing = (schema, own, kinds()).prop_map(|(s, n, k)| (s.to_owned(), n.to_owned(), k));
    prop::collection::vec(thing, 0..24)
}

proptest! {
    /// Choosing and leaving out the same objects share the database between them.
    #[test]
    fn what_is_chosen_and_what_is_left_out_share_the_database(
        there in things(), picked in things(), schemas in prop::collection::vec("[ab]", 0..2),
    ) {
        let names = picked.iter().map(|(s, n, k)| (ObjectName::two(s, n), *k));
        let schemas = schemas.iter().map(|s| (ObjectName::one(s), Schema));
        let all: Vec<_> = names.chain(schemas).collect();
        let chosen = all.iter().map(|(n, k)| ChosenObject::new(n.clone(), *k)).collect();
        let exclude = all.iter().map(|(n, k)| ExcludedObject::new(n.clone(), *k)).collect();
        let only = DatabaseSelection::only(name("shop"), chosen);
        let rest = DatabaseSelection { database: name("shop"), scope: Scope::Whole { exclude } };
        for (schema, own, kind) in &there {
            prop_assert_ne!(only.takes(schema, own, *kind), rest.takes(schema, own, *kind));
            prop_assert_eq!(only.takes(schema, own, *kind), only.chosen(schema, own, *kind).is_some());
        }
    }

    /// What a saveset remembers of its databases can be written as a job's list again.
    #[test]
    fn a_sorted_selection_written_as_a_list_sorts_to_itself(picked in things(), whole in any::<bool>()) {
        let mut names: Vec<_> = picked.iter().map(|(s, n, k)| (ObjectName::two(s, n), *k)).collect();
        names.sort();
        names.dedup();
        let exclude = names.iter().map(|(n, k)| ExcludedObject::new(n.clone(), *k)).collect();
        let chosen: Vec<_> = names.iter().map(|(n, k)| ChosenObject::new(n.clone(), *k)).collect();
        let selection = match whole || chosen.is_empty() {
            true => DatabaseSelection { database: name("shop"), scope: Scope::Whole { exclude } },
            false => DatabaseSelection::only(name("shop"), chosen),
        };
        prop_assert_eq!(sorted(selection.as_listed(), &[]).unwrap(), vec![selection]);
    }

    /// An entry is unmatched exactly if it changes nothing.
    #[test]
    fn an_exclusion_is_unmatched_exactly_if_nothing_is_left_out_by_it(
        there in things(), excluded in things(),
    ) {
        let each = |(s, n, k): &(String, String, ObjectType)| ExcludedObject::new(ObjectName::two(s, n), *k);
        let exclude: Vec<_> = excluded.iter().map(each).collect();
        let selection = DatabaseSelection { database: name("shop"), scope: Scope::Whole { exclude: exclude.clone() } };
        let listed = there.iter().map(|(s, n, k)| (s.as_str(), n.as_str(), *k));
        let unmatched = selection.unmatched(listed).excluded;
        for one in exclude {
            let alone = DatabaseSelection { database: name("shop"), scope: Scope::Whole { exclude: vec![one.clone()] } };
            let idle = there.iter().all(|(s, n, k)| alone.takes(s, n, *k));
            prop_assert_eq!(unmatched.contains(&one), idle);
        }
    }

    /// However the same table is written, it is the same table.
    #[test]
    fn every_way_to_write_a_tables_place_means_the_same(schema in "[a-z.\"]{1,5}", own in "[a-z.\"]{1,5}") {
        let two = ObjectName::two(&schema, &own);
        let three: ObjectName = format!("shop.{two}").parse().unwrap();
        let below = |parent: &str, kind| SelectedObject { parent_name: Some(name(parent)), parent_type: Some(kind), ..object(Table, "t", None) };
        let in_schema = SelectedObject {
            name: ObjectName::one(&own),
            parent_name: Some(ObjectName::two("shop", &schema)),
            ..below("shop", Schema)
        };
        let ways = [
            SelectedObject { name: two.clone(), ..below("shop", Database) },
            SelectedObject { name: three.clone(), ..object(Table, "t", None) },
            SelectedObject { name: three, ..below("shop", Database) },
            in_schema,
        ];
        for way in ways {
            let found = sorted(vec![way], &[]).unwrap();
            prop_assert_eq!(&found, &[DatabaseSelection::only(name("shop"), vec![ChosenObject::new(two.clone(), Table)])]);
        }
    }
}

#[test]
fn a_fault_has_the_place_of_its_entry_and_of_its_exclusion() {
    let place = |objects: Vec<SelectedObject>| {
        let fault = Selection { objects }.sorted(&[]).unwrap_err();
        (fault.place.object, fault.place.excluded)
    };
    let shop = object(Database, "shop", Some("DBC"));
    let wrong = [(Table, "log"), (Table, "crm.public.log")];
    let wrong = without(object(Database, "erp", Some("DBC")), &wrong);
    assert_eq!(place(vec![shop.clone(), wrong]), (Some(1), Some(1)));
    let wrong = without(
        object(Schema, "sales", Some("crm")),
        &[(Table, "other.log")],
    );
    assert_eq!(place(vec![shop.clone(), wrong]), (Some(1), Some(0)));
    let twice = vec![shop.clone(), object(Table, "t", Some("crm")), shop.clone()];
    assert_eq!(place(twice), (Some(2), None));
    let beside = vec![shop, object(Database, "DBC", None)];
    assert_eq!(place(beside), (Some(0), None));
    assert_eq!(place(Vec::new()), (None, None));
}
