//! A new database of a part of a saveset, and a database back in its place.

use std::sync::Arc;

use model::{
    ChosenObject, DatabaseSelection, ExcludedObject, ObjectName, ObjectType, RestoreRequest, Scope,
};
use testkit::RecordedProgress;
use testkit::digest::{Digest, assert_equal, digest};
use testkit::postgres::Server;

use super::chosen::{only, server_with_orders};
use super::drive::{open, restore};
use super::round_trip::{rows_of, server_with_shop, similar};
use super::saved::Saved;

async fn all(server: &Server, name: &str) -> Digest {
    digest(&server.connect(name).await).await.unwrap()
}

fn without(objects: &[(&str, ObjectType)]) -> impl Fn(&mut RestoreRequest) + use<> {
    let exclude: Vec<ExcludedObject> = objects
        .iter()
        .map(|(name, kind)| ExcludedObject::new(name.parse().unwrap(), *kind))
        .collect();
    move |request| {
        request.selection.scope = Scope::Whole {
            exclude: exclude.clone(),
        };
    }
}

async fn a_database_without_a_table(version: u32) {
    let server = server_with_orders(version);
    let mut before = all(&server, "shop").await;
    let saved = Saved::by_source(&server, "shop").await;
    let change = without(&[
        ("s.orders", ObjectType::Table),
        ("s.vehicle", ObjectType::Table),
        ("s.no_such", ObjectType::Table),
    ]);
    let restored = restore(&server, &saved, change, "most").await.unwrap();
    assert_eq!(restored.errors, [""; 0]);
    let warnings = restored.progress.warnings().join("\n");
    for casualty in [
        "view s.open_orders is left out",
        "view s.open_count is left out",
        "table constraint line_orders_fkey on s.line is left out",
        "policy of_open on s.line is left out",
        "function s.how_many() is left out",
        "default value for s.ticket.n is left out",
    ] {
        assert!(warnings.contains(casualty), "{casualty} in {warnings}");
    }
    assert!(
        warnings.contains("TABLE s.no_such is to be left out, and"),
        "{warnings}"
    );
    assert_eq!(restored.progress.warnings().len(), 7, "{warnings}");
    for gone in [
        "table s.orders",
        "table s.vehicle",
        "sequence s.orders_id_seq",
        "sequence s.orders_no_seq",
    ] {
        assert!(before.remove(gone).is_some(), "{gone} in {before:?}");
    }
    let after = all(&server, "most").await;
    // The child came with all its columns, and stands alone now.
    assert_equal(&before, &after);
    let owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'most'";
    assert_eq!(server.psql("postgres", owner), "app");
    let databases = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname !~ '^template'";
    assert_eq!(server.psql("postgres", databases), "most postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_comes_back_without_a_table_and_what_depends_on_it_is_named_on_14() {
    a_database_without_a_table(14).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_comes_back_without_a_table_and_what_depends_on_it_is_named_on_18() {
    a_database_without_a_table(18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_has_everything_comes_back_without_a_sequence_or_a_partition() {
    let server = server_with_shop(17);
    let saved = Saved::by_source(&server, "shop").await;
    let change = without(&[
        ("app.loose", ObjectType::Sequence),
        ("app.sale_old", ObjectType::Table),
    ]);
    let restored = restore(&server, &saved, change, "most").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (vec![], vec![])
    );
    server.psql("shop", "DROP SEQUENCE app.loose; DROP TABLE app.sale_old; REFRESH MATERIALIZED VIEW app.zz_counts; REFRESH MATERIALIZED VIEW app.aa_total");
    let before = rows_of(&server, "shop").await;
    assert_equal(&before, &rows_of(&server, "most").await);
    similar(&server.dump_schema("shop"), &server.dump_schema("most"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_makes_a_database_of_its_own_with_the_owner_of_the_saved_one() {
    let server = server_with_orders(17);
    let before = all(&server, "shop").await;
    let saved = Saved::by_source(&server, "shop").await;
    let one = |request: &mut RestoreRequest| {
        let mut chosen = ChosenObject::new("s.orders".parse().unwrap(), ObjectType::Table);
        chosen.rename_to = Some("t.old_orders".parse().unwrap());
        let sale = ChosenObject::new("s.sale".parse().unwrap(), ObjectType::Table);
        request.selection = DatabaseSelection::only(ObjectName::one("shop"), vec![chosen, sale]);
    };
    let restored = restore(&server, &saved, one, "only orders").await.unwrap();
    assert_eq!(restored.errors, [""; 0]);
    let warnings = restored.progress.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let key = "table constraint to_customer on s.orders is left out";
    assert!(warnings[0].starts_with(key), "{warnings:?}");
    let counted = server.psql("only orders", "SELECT s.how_many()");
    assert_eq!(counted, "2000");
    let after = all(&server, "only orders").await;
    let names: Vec<&str> = after.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "sequence t.old_orders_id_seq",
            "sequence t.old_orders_no_seq",
            "table parts.sale_new_1",
            "table s.sale_new_0",
            "table s.sale_old",
            "table t.old_orders",
        ]
    );
    assert_eq!(
        after.get("table t.old_orders"),
        before.get("table s.orders")
    );
    let owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'only orders'";
    assert_eq!(server.psql("postgres", owner), "app");
    let view = only("s.open_orders", ObjectType::View);
    let error = restore(&server, &saved, view, "a view").await.unwrap_err();
    assert_eq!(error.code(), "needs-another-object");
    let databases = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname !~ '^template'";
    assert_eq!(
        server.psql("postgres", databases),
        "only orders postgres shop"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saveset_of_some_tables_gives_a_database_of_these() {
    let server = server_with_orders(17);
    let mut saved = Saved::by_source(&server, "shop").await;
    // As a source that was asked for two tables gives it: the dump has all, the rows are of two.
    let held = ["s.customer", "s.ticket"];
    let keep: Vec<usize> = (0..saved.tables.len())
        .filter(|place| held.contains(&&*saved.tables[*place].plan.name.to_string()))
        .collect();
    assert_eq!(keep.len(), 2);
    saved.tables = keep
        .iter()
        .map(|place| saved.tables[*place].clone())
        .collect();
    saved.ranges = std::mem::take(&mut saved.ranges)
        .into_iter()
        .filter_map(|(mut task, rows)| {
            task.table = keep.iter().position(|place| *place == task.table)?;
            Some((task, rows))
        })
        .collect();
    let some = |request: &mut RestoreRequest| {
        let chosen = held.map(|name| ChosenObject::new(name.parse().unwrap(), ObjectType::Table));
        request.saved = DatabaseSelection::only(ObjectName::one("shop"), chosen.to_vec());
    };
    let restored = restore(&server, &saved, some, "some").await.unwrap();
    assert_eq!(restored.errors, [""; 0]);
    let warnings = restored.progress.warnings().join("\n");
    assert!(
        warnings.contains("default value for s.ticket.n is left out") && !warnings.contains("view"),
        "{warnings}"
    );
    let after = all(&server, "some").await;
    let names: Vec<&str> = after.keys().map(String::as_str).collect();
    assert_eq!(names, ["table s.customer", "table s.ticket"]);
    let asks = |request: &mut RestoreRequest| {
        some(request);
        only("s.orders", ObjectType::Table)(request);
    };
    let error = restore(&server, &saved, asks, "none").await.unwrap_err();
    assert_eq!(error.code(), "no-such-object");
    assert!(
        error.sentence().contains("does not hold the rows"),
        "{}",
        error.sentence()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_goes_back_to_its_place_and_the_one_before_is_kept() {
    let server = server_with_orders(17);
    let before = all(&server, "shop").await;
    let schema = server.dump_schema("shop");
    let saved = Saved::by_source(&server, "shop").await;
    server.psql("shop", "UPDATE s.orders SET note = 'ruined'");
    let ruined = all(&server, "shop").await;
    let request = saved.request("shop", Arc::new(RecordedProgress::new()));
    let plan = open(&server, request)
        .await
        .unwrap()
        .findings()
        .await
        .unwrap();
    let codes: Vec<&str> = plan.obstacles.iter().map(|o| o.code.as_str()).collect();
    assert_eq!(codes, ["target-not-empty"]);
    let replace = |request: &mut RestoreRequest| request.replace_existing = true;
    let restored = restore(&server, &saved, replace, "shop").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (vec![], vec![])
    );
    let kept = restored
        .published
        .kept
        .expect("the old one is kept")
        .last()
        .to_owned();
    assert!(
        kept.starts_with("shop_kept_") && kept.ends_with("_restore_12_1"),
        "{kept}"
    );
    assert_equal(&before, &all(&server, "shop").await);
    similar(&schema, &server.dump_schema("shop"));
    assert_equal(&ruined, &all(&server, &kept).await);
}
