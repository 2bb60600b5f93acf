use model::{ChosenObject, ExcludedObject, ObjectName, ObjectType, SelectedObject};
use proptest::prelude::*;

use super::*;

fn base(flaw: Option<Flaw>) -> Option<Base> {
    Some(Base {
        saveset: SavesetId::new(12).unwrap(),
        execution: ExecutionId::new(121).unwrap(),
        flaw,
    })
}

fn decided(run_type: RunType, base: Option<Base>) -> Decision {
    decide(&Asked { run_type, base })
}

#[test]
fn each_rule_of_the_contract_forces_full_and_says_why() {
    let flaws = [
        (Flaw::Gone, "saveset 12, which it would build on, is gone"),
        (
            Flaw::FailedItsCheck { what: None },
            "saveset 12, which it would build on, failed its verification",
        ),
        (
            Flaw::FailedItsCheck {
                what: Some("packs/ab is missing.".to_owned()),
            },
            "saveset 12, which it would build on, cannot be read (packs/ab is missing)",
        ),
        (Flaw::OtherVault, "the vault is not the one of saveset 12"),
        (
            Flaw::OtherObjects,
            "the list of objects has changed since saveset 12",
        ),
        (
            Flaw::OtherSetting {
                which: "the site's directory",
            },
            "the site's directory has changed since saveset 12",
        ),
        (
            Flaw::MadeAnew {
                why: "its system identifier is 7".to_owned(),
            },
            "the database system was made anew since saveset 12: its system identifier is 7",
        ),
    ];
    for (flaw, why) in flaws {
        let forced = decided(RunType::Delta, base(Some(flaw.clone())));
        assert_eq!((forced.run_type, forced.base), (RunType::Full, None));
        assert_eq!(forced.reason, format!("FULL, because {why}"));
        let asked = decided(RunType::Full, base(Some(flaw)));
        assert_eq!(asked.reason, "FULL, as asked");
    }
}

#[test]
fn the_first_run_is_full_whatever_was_asked_and_the_next_is_what_was_asked() {
    let first = decided(RunType::Delta, None);
    assert_eq!(first.run_type, RunType::Full);
    assert!(first.reason.contains("no saveset to build on"), "{first:?}");
    assert_eq!(decided(RunType::Full, None).run_type, RunType::Full);
    let next = decided(RunType::Delta, base(None));
    assert_eq!(next.run_type, RunType::Delta);
    assert_eq!(next.base, SavesetId::new(12).ok());
    assert_eq!(next.reason, "DELTA on saveset 12 of execution 121");
    let full = decided(RunType::Full, base(None));
    assert_eq!((full.run_type, full.base), (RunType::Full, None));
}

fn table(name: String) -> SelectedObject {
    SelectedObject {
        name: ObjectName::one(name),
        object_type: ObjectType::Table,
        parent_name: Some(ObjectName::one("shop")),
        parent_type: Some(ObjectType::Database),
        include_all: false,
        exclude: Vec::new(),
        rename_to: None,
    }
}

fn made_with(names: &[u8]) -> MadeWith {
    let objects = names.iter().map(|n| table(format!("t{n}")));
    MadeWith {
        vault: "v".to_owned(),
        place: None,
        selection: Selection {
            objects: objects.collect(),
        },
    }
}

#[test]
fn what_was_made_with_something_else_is_no_base() {
    let now = made_with(&[1, 2]);
    assert_eq!(now.flaw(&now), None);
    assert_eq!(
        now.flaw(&made_with(&[2, 1])),
        None,
        "the order says nothing"
    );
    assert_eq!(now.flaw(&made_with(&[1])), Some(Flaw::OtherObjects));
    assert_eq!(now.flaw(&made_with(&[1, 3])), Some(Flaw::OtherObjects));
    let mut excluding = now.clone();
    let left_out = ExcludedObject::new(ObjectName::one("t9"), ObjectType::Table);
    excluding.selection.objects[0].exclude.push(left_out);
    assert_eq!(now.flaw(&excluding), Some(Flaw::OtherObjects));
    let elsewhere = MadeWith {
        vault: "w".to_owned(),
        ..now.clone()
    };
    assert_eq!(now.flaw(&elsewhere), Some(Flaw::OtherVault));
    let moved = MadeWith {
        place: Some("/srv/other".to_owned()),
        ..now.clone()
    };
    let which = "the site's directory";
    assert_eq!(now.flaw(&moved), Some(Flaw::OtherSetting { which }));
    let kept = serde_json::to_string(&excluding).unwrap();
    assert_eq!(serde_json::from_str::<MadeWith>(&kept).unwrap(), excluding);
}

fn whole(name: &str) -> DatabaseSelection {
    DatabaseSelection::whole(ObjectName::one(name))
}

#[test]
fn a_list_of_the_sites_own_may_grow_and_shrink_as_long_as_one_database_is_the_same() {
    let (a, b, c) = (whole("a"), whole("b"), whole("c"));
    let two = [a.clone(), b.clone()];
    assert!(same_objects(&two, &two, false));
    assert!(same_objects(&two, &[b.clone(), a.clone()], false));
    assert!(!same_objects(&two, std::slice::from_ref(&a), false));
    assert!(!same_objects(std::slice::from_ref(&a), &two, false));
    assert!(same_objects(&two, std::slice::from_ref(&a), true));
    assert!(same_objects(std::slice::from_ref(&a), &two, true));
    assert!(!same_objects(&two, &[c], true), "nothing is left of it");
    let part = DatabaseSelection::only(
        ObjectName::one("b"),
        vec![ChosenObject::new(ObjectName::one("t"), ObjectType::Table)],
    );
    assert!(!same_objects(&two, &[a, part], true));
}

proptest! {
    #[test]
    fn a_list_is_the_same_in_whatever_order_and_never_with_another_object(
        names in prop::collection::btree_set(0u8..20, 1..8),
        turn in 0usize..8,
        other in 20u8..30,
    ) {
        let names: Vec<u8> = names.into_iter().collect();
        let mut turned = names.clone();
        turned.rotate_left(turn % names.len());
        prop_assert_eq!(made_with(&names).flaw(&made_with(&turned)), None);
        turned[0] = other;
        prop_assert_eq!(made_with(&names).flaw(&made_with(&turned)), Some(Flaw::OtherObjects));
        prop_assert_eq!(made_with(&turned).flaw(&made_with(&names)), Some(Flaw::OtherObjects));
        turned.remove(0);
        prop_assert_eq!(made_with(&names).flaw(&made_with(&turned)), Some(Flaw::OtherObjects));
    }
}
