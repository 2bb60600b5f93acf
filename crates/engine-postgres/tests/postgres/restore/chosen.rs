//! Objects that are chosen by name and go into a database that is there.

use std::sync::Arc;

use model::{ChosenObject, DatabaseSelection, ObjectName, ObjectType, RestoreRequest};
use testkit::RecordedProgress;
use testkit::digest::{Digest, assert_equal, digest};
use testkit::postgres::Server;

use super::drive::{load, open, restore};
use super::round_trip::similar;
use super::saved::Saved;

/// A server with the roles and the database that has the orders.
pub fn server_with_orders(version: u32) -> Server {
    let server = Server::version(version).start();
    server.least_rights_role();
    server.psql(
        "postgres",
        "CREATE ROLE app; CREATE ROLE reader; GRANT app TO backstay_restore;
         CREATE DATABASE shop OWNER app",
    );
    let sql = format!("SET ROLE app; {}", include_str!("orders.sql"));
    server.psql("shop", &sql);
    server
}

/// Asks for one object.
pub fn only(name: &str, kind: ObjectType) -> impl Fn(&mut RestoreRequest) + Copy {
    let (name, kind) = (name.to_owned().leak() as &str, kind);
    move |request| {
        let chosen = ChosenObject::new(name.parse().unwrap(), kind);
        request.selection = DatabaseSelection::only(ObjectName::one("shop"), vec![chosen]);
    }
}

fn table(name: &str) -> impl Fn(&mut RestoreRequest) + Copy {
    only(name, ObjectType::Table)
}

fn table_as(name: &'static str, to: &'static str) -> impl Fn(&mut RestoreRequest) + Copy {
    move |request| {
        let mut chosen = ChosenObject::new(name.parse().unwrap(), ObjectType::Table);
        chosen.rename_to = Some(to.parse().unwrap());
        request.selection = DatabaseSelection::only(ObjectName::one("shop"), vec![chosen]);
    }
}

async fn all(server: &Server) -> Digest {
    digest(&server.connect("shop").await).await.unwrap()
}

/// The schemas that stand in the database.
fn schemas(server: &Server) -> Vec<String> {
    let sql = "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace
                WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')";
    let all = server.psql("shop", sql);
    all.split(' ').map(str::to_owned).collect()
}

/// Drops what was kept; answers the schemas' names.
fn drop_kept(server: &Server) -> Vec<String> {
    let kept: Vec<String> = schemas(server)
        .into_iter()
        .filter(|name| name.contains("_kept_"))
        .collect();
    for name in &kept {
        server.psql(
            "shop",
            &format!("SET client_min_messages = error; DROP SCHEMA \"{name}\" CASCADE"),
        );
    }
    kept
}

fn databases(server: &Server) -> String {
    let sql = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname !~ '^template'";
    server.psql("postgres", sql)
}

async fn one_table(version: u32) {
    let server = server_with_orders(version);
    let before = all(&server).await;
    let schema = server.dump_schema("shop");
    let saved = Saved::by_source(&server, "shop").await;
    // Half past two in the morning.
    server.psql(
        "shop",
        "UPDATE s.orders SET note = 'ruined' WHERE id > 1000; ALTER TABLE s.orders DROP COLUMN amount CASCADE;
         SELECT nextval('s.orders_no_seq')",
    );
    let restored = restore(&server, &saved, table("s.orders"), "shop")
        .await
        .unwrap();
    assert_eq!(restored.errors, [""; 0]);
    assert_eq!(restored.progress.warnings(), [""; 0]);
    let kept = restored
        .published
        .kept
        .expect("the old table is kept")
        .to_string();
    assert!(
        kept.starts_with("shop.s_kept_2") && kept.ends_with("_restore_12_1"),
        "{kept}"
    );
    let name = ObjectName::last(&kept.parse().unwrap()).to_owned();
    let ruined = format!("SELECT count(*) FROM \"{name}\".orders WHERE note = 'ruined'");
    assert_eq!(server.psql("shop", &ruined), "1000");
    assert_eq!(drop_kept(&server), [name]);
    assert_equal(&before, &all(&server).await);
    similar(&schema, &server.dump_schema("shop"));
    assert_eq!(
        server.psql("shop", "SELECT s.how_many(), (SELECT n FROM s.open_count)"),
        "2000|1000"
    );
    assert_eq!(databases(&server), "postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_takes_its_place_with_all_that_hangs_on_it_on_14() {
    one_table(14).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_takes_its_place_with_all_that_hangs_on_it_on_17() {
    one_table(17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_takes_its_place_with_all_that_hangs_on_it_on_18() {
    one_table(18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_comes_with_its_partitions_and_a_dropped_table_comes_back() {
    let server = server_with_orders(17);
    let before = all(&server).await;
    let schema = server.dump_schema("shop");
    let saved = Saved::by_source(&server, "shop").await;
    server.psql("shop", "DELETE FROM s.sale; DROP TABLE s.line, s.ticket");
    let restored = restore(&server, &saved, table("s.sale"), "shop")
        .await
        .unwrap();
    assert_eq!(restored.errors, [""; 0]);
    assert_eq!(drop_kept(&server).len(), 2, "of s and of parts");
    for gone in ["s.line", "s.ticket"] {
        let restored = restore(&server, &saved, table(gone), "shop").await.unwrap();
        assert_eq!((restored.errors, restored.published.kept), (vec![], None));
    }
    assert_equal(&before, &all(&server).await);
    similar(&schema, &server.dump_schema("shop"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_comes_back_under_another_name_beside_the_old_one() {
    let server = server_with_orders(17);
    let saved = Saved::by_source(&server, "shop").await;
    let before = all(&server).await;
    let renamed = table_as("s.orders", "s.orders_saved");
    let restored = restore(&server, &saved, renamed, "shop").await.unwrap();
    assert_eq!((restored.errors, restored.published.kept), (vec![], None));
    let mut after = all(&server).await;
    assert_eq!(
        after.remove("table s.orders_saved"),
        before.get("table s.orders").cloned()
    );
    let sequences = [
        "sequence s.orders_saved_id_seq",
        "sequence s.orders_saved_no_seq",
    ];
    for sequence in sequences {
        assert!(after.remove(sequence).is_some(), "{after:?}");
    }
    assert_equal(&before, &after);
    let indexes =
        "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid::regclass::text)
                     FROM pg_index WHERE indrelid = 's.orders_saved'::regclass";
    assert_eq!(
        server.psql("shop", indexes),
        "s.orders_saved_apart s.orders_saved_by_note s.orders_saved_identity s.orders_saved_new s.orders_saved_pkey"
    );
    let keys =
        "SELECT string_agg(pg_get_constraintdef(oid), '; ' ORDER BY conname) FROM pg_constraint
                 WHERE conrelid = 's.orders_saved'::regclass AND contype = 'f'";
    assert_eq!(
        server.psql("shop", keys),
        "FOREIGN KEY (parent) REFERENCES s.orders_saved(id); FOREIGN KEY (customer) REFERENCES s.customer(id)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_named_before_anything_is_touched() {
    let server = server_with_orders(17);
    let saved = Saved::by_source(&server, "shop").await;
    server.psql(
        "shop",
        "SET ROLE app; CREATE MATERIALIZED VIEW s.numbers AS SELECT count(*) FROM s.orders;
         CREATE TRIGGER later BEFORE UPDATE ON s.orders FOR EACH ROW EXECUTE FUNCTION s.touch();
         CREATE FUNCTION s.one(s.orders) RETURNS int LANGUAGE sql AS 'SELECT 1';
         DROP TYPE s.state CASCADE",
    );
    let before = all(&server).await;
    let found = |change: fn(&mut RestoreRequest)| {
        let mut request = saved.request("shop", Arc::new(RecordedProgress::new()));
        table("s.orders")(&mut request);
        change(&mut request);
        let server = &server;
        async move {
            open(server, request)
                .await
                .unwrap()
                .findings()
                .await
                .unwrap()
        }
    };
    let plan = found(|_| ()).await;
    let obstacles: Vec<(&str, &str)> = plan
        .obstacles
        .iter()
        .map(|o| (o.code.as_str(), o.detail.as_str()))
        .collect();
    assert_eq!(
        obstacles,
        [
            (
                "missing-object",
                "what is restored needs the type s state, which the target database does not have"
            ),
            (
                "in-the-way",
                "function s.one(s.orders) cannot be bound to what takes the old one's place"
            ),
            (
                "in-the-way",
                "rule _RETURN on materialized view s.numbers cannot be bound to what takes the old one's place"
            ),
        ]
    );
    let warnings = plan.warnings.join("\n");
    assert!(
        warnings.contains("the trigger later of s.orders is not in the saveset"),
        "{warnings}"
    );
    assert!(warnings.contains("to_customer"), "{warnings}");
    let steps = plan.steps.join("\n");
    assert!(
        steps.contains("backstay_12_1_0_s") && steps.contains("load 2000 rows into 1 tables"),
        "{steps}"
    );
    let plan = found(|request| request.as_copy = true).await;
    assert!(
        plan.obstacles.iter().any(|o| o.code == "target-exists"),
        "{plan:?}"
    );
    let plan = found(|request| table("s.order")(request)).await;
    assert_eq!(plan.obstacles[0].code, "no-such-object");
    let error = restore(&server, &saved, table("s.orders"), "shop")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "restore-obstacle");
    assert_equal(&before, &all(&server).await);
    assert_eq!(schemas(&server), ["parts", "s"]);
    assert_eq!(databases(&server), "postgres shop");
}

/// How far a restore goes before it ends.
async fn up_to(target: &mut dyn model::Target, saved: &Saved, steps: usize) {
    if steps > 0 {
        target.prepare().await.unwrap();
    }
    if steps > 1 {
        load(target, saved).await.unwrap();
    }
    if steps > 2 {
        target.build(2).await.unwrap();
    }
    if steps > 3 {
        target.postscript().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_discarded_or_dies_at_any_step_leaves_the_target_as_it_was() {
    let server = server_with_orders(17);
    let saved = Saved::by_source(&server, "shop").await;
    server.psql("shop", "UPDATE s.orders SET note = 'ruined'");
    let before = all(&server).await;
    let schema = server.dump_schema("shop");
    for steps in 1..=4 {
        let mut request = saved.request("shop", Arc::new(RecordedProgress::new()));
        table("s.orders")(&mut request);
        let mut target = open(&server, request.clone()).await.unwrap();
        target.findings().await.unwrap();
        up_to(&mut *target, &saved, steps).await;
        target.discard().await.unwrap();
        assert_equal(&before, &all(&server).await);
        similar(&schema, &server.dump_schema("shop"));
        // And one that nobody discards.
        let mut target = open(&server, request).await.unwrap();
        target.findings().await.unwrap();
        up_to(&mut *target, &saved, steps).await;
        drop(target);
        let mut with_left = all(&server).await;
        with_left.retain(|name, _| !name.contains("backstay_12_1_"));
        assert_equal(&before, &with_left);
        assert_eq!(schemas(&server).len(), 3);
        let mut request = saved.request("shop", Arc::new(RecordedProgress::new()));
        table("s.customer")(&mut request);
        request.server_execution_id = "12.2".parse().unwrap();
        request.earlier = vec!["12.1".parse().unwrap()];
        let mut target = open(&server, request).await.unwrap();
        target.prepare().await.unwrap();
        target.discard().await.unwrap();
        assert_equal(&before, &all(&server).await);
        assert_eq!(schemas(&server), ["parts", "s"]);
    }
    assert_eq!(databases(&server), "postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_hold_are_named_and_stay_for_new_rows() {
    let server = server_with_orders(17);
    let saved = Saved::by_source(&server, "shop").await;
    server.psql(
        "shop",
        "INSERT INTO s.orders (customer, note) VALUES (1, 'after the backup');
         INSERT INTO s.line SELECT max(id), 1 FROM s.orders;
         UPDATE s.orders SET customer = 50; DELETE FROM s.customer WHERE id < 10",
    );
    let restored = restore(&server, &saved, table("s.orders"), "shop")
        .await
        .unwrap();
    let errors = restored.errors.join("\n");
    assert_eq!(restored.errors.len(), 2, "{errors}");
    assert!(
        errors.contains("\"to_customer\" of \"backstay_12_1_0_s\".\"orders\""),
        "{errors}"
    );
    assert!(
        errors.contains("line_orders_fkey of s.line does not hold"),
        "{errors}"
    );
    let keys =
        "SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE NOT convalidated
                   AND connamespace = 's'::regnamespace";
    assert_eq!(server.psql("shop", keys), "line_orders_fkey to_customer");
    let warnings = restored.progress.warnings().join("\n");
    assert!(
        warnings.contains("VALIDATE CONSTRAINT line_orders_fkey"),
        "{warnings}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_waits_for_who_uses_the_table_and_gives_way_meanwhile() {
    let server = server_with_orders(17);
    let saved = Saved::by_source(&server, "shop").await;
    let user = server
        .connect_as("shop", testkit::postgres::SUPERUSER)
        .await;
    user.batch_execute("BEGIN; SELECT count(*) FROM s.orders")
        .await
        .unwrap();
    let leaves = async {
        tokio::time::sleep(std::time::Duration::from_secs(12)).await;
        user.batch_execute("COMMIT").await.unwrap();
    };
    let (restored, ()) = tokio::join!(restore(&server, &saved, table("s.orders"), "shop"), leaves);
    assert_eq!(restored.unwrap().errors, [""; 0]);
}

async fn one_schema(version: u32) {
    let server = server_with_orders(version);
    let before = all(&server).await;
    let schema = server.dump_schema("shop");
    let saved = Saved::by_source(&server, "shop").await;
    server.psql(
        "shop",
        "DELETE FROM s.line; UPDATE s.orders SET note = 'ruined'; DROP VIEW s.open_count;
         CREATE TABLE s.newer (id int); DROP FUNCTION s.how_many",
    );
    let whole = only("s", ObjectType::Schema);
    let restored = restore(&server, &saved, whole, "shop").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (vec![], vec![])
    );
    let kept = drop_kept(&server);
    assert_eq!(kept.len(), 2, "of s and of parts: {kept:?}");
    assert_equal(&before, &all(&server).await);
    similar(&schema, &server.dump_schema("shop"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_schema_takes_its_place_and_what_was_in_it_is_kept_on_14() {
    one_schema(14).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_schema_takes_its_place_and_what_was_in_it_is_kept_on_18() {
    one_schema(18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_and_a_partition_come_back_by_themselves() {
    let server = server_with_orders(17);
    let before = all(&server).await;
    let saved = Saved::by_source(&server, "shop").await;
    server.psql("shop", "UPDATE s.truck SET load = 0");
    let restored = restore(&server, &saved, table("s.truck"), "shop")
        .await
        .unwrap();
    assert_eq!(restored.errors, [""; 0]);
    assert_eq!(server.psql("shop", "SELECT count(*) FROM s.vehicle"), "30");
    let kept = schemas(&server)
        .into_iter()
        .find(|name| name.contains("_kept_"))
        .unwrap();
    let old = format!("SELECT count(*) FROM \"{kept}\".truck");
    assert_eq!(server.psql("shop", &old), "20");
    drop_kept(&server);
    let partition = table_as("s.sale_old", "s.sale_as_it_was");
    let restored = restore(&server, &saved, partition, "shop").await.unwrap();
    assert_eq!((restored.errors, restored.published.kept), (vec![], None));
    let mut after = all(&server).await;
    assert_eq!(
        after.remove("table s.sale_as_it_was"),
        before.get("table s.sale_old").cloned()
    );
    assert_equal(&before, &after);
    let error = restore(&server, &saved, table("s.sale_old"), "shop")
        .await
        .unwrap_err();
    assert!(
        error.sentence().contains("is a partition of s.sale"),
        "{}",
        error.sentence()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_and_a_sequence_come_back_by_themselves() {
    let server = server_with_orders(17);
    server.psql(
        "shop",
        "SET ROLE app; CREATE SEQUENCE s.loose; SELECT nextval('s.loose')",
    );
    let before = all(&server).await;
    let schema = server.dump_schema("shop");
    let saved = Saved::by_source(&server, "shop").await;
    server.psql(
        "shop",
        "DROP VIEW s.open_count; SELECT setval('s.loose', 1000);
         CREATE OR REPLACE VIEW s.open_orders AS SELECT id, 'gone' AS note FROM s.orders",
    );
    for (name, kind) in [
        ("s.open_orders", ObjectType::View),
        ("s.open_count", ObjectType::View),
        ("s.loose", ObjectType::Sequence),
    ] {
        let restored = restore(&server, &saved, only(name, kind), "shop")
            .await
            .unwrap();
        assert_eq!(restored.errors, [""; 0]);
        drop_kept(&server);
    }
    assert_equal(&before, &all(&server).await);
    similar(&schema, &server.dump_schema("shop"));
}

async fn a_table_in_public(version: u32) {
    let server = Server::version(version).start();
    server.least_rights_role();
    server.psql(
        "postgres",
        "CREATE ROLE app; GRANT app TO backstay_restore; CREATE DATABASE shop OWNER app",
    );
    server.psql(
        "shop",
        "SET ROLE app; CREATE TABLE item (id serial PRIMARY KEY, name text);
         INSERT INTO item (name) SELECT 'item ' || i FROM generate_series(1, 500) AS i;
         CREATE MATERIALIZED VIEW names AS SELECT name FROM item",
    );
    let before = all(&server).await;
    let schema = server.dump_schema("shop");
    let saved = Saved::by_source(&server, "shop").await;
    server.psql(
        "shop",
        "TRUNCATE item CASCADE; REFRESH MATERIALIZED VIEW names",
    );
    // The table, and the view that could not be bound to it.
    let both = |request: &mut RestoreRequest| {
        let item = ChosenObject::new(ObjectName::one("item"), ObjectType::Table);
        let names = ChosenObject::new(ObjectName::one("names"), ObjectType::MaterializedView);
        request.selection = DatabaseSelection::only(ObjectName::one("shop"), vec![item, names]);
    };
    let restored = restore(&server, &saved, both, "shop").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (vec![], vec![])
    );
    let kept = drop_kept(&server);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].starts_with("public_kept_"), "{kept:?}");
    assert_equal(&before, &all(&server).await);
    similar(&schema, &server.dump_schema("shop"));
    assert_eq!(server.psql("shop", "SELECT count(*) FROM names"), "500");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_schema_is_one_of_public_on_14() {
    a_table_in_public(14).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_schema_is_one_of_public_on_18() {
    a_table_in_public(18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_a_table_needs_are_told_with_the_statement_that_gives_them() {
    let server = server_with_orders(17);
    let saved = Saved::by_source(&server, "shop").await;
    server.psql(
        "shop",
        "ALTER DATABASE shop OWNER TO postgres; CREATE VIEW s.of_another AS SELECT id FROM s.orders;
         REVOKE CREATE ON SCHEMA s FROM app",
    );
    let mut request = saved.request("shop", Arc::new(RecordedProgress::new()));
    table("s.orders")(&mut request);
    let mut target = open(&server, request).await.unwrap();
    let plan = target.findings().await.unwrap();
    let told: Vec<String> = plan
        .obstacles
        .iter()
        .map(|o| format!("{} {}", o.code, o.remedy.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            "missing-right GRANT CREATE ON DATABASE \"shop\" TO \"backstay_restore\"",
            "missing-right GRANT CREATE ON SCHEMA \"s\" TO \"backstay_restore\"",
            "in-the-way GRANT postgres TO that role, or restore under another name (rename_to)",
        ]
    );
    for object_type in [ObjectType::Function, ObjectType::Type, ObjectType::Index] {
        let refused = restore(&server, &saved, only("s.touch()", object_type), "shop").await;
        let error = refused.unwrap_err();
        assert_eq!(error.code(), "not-built-yet");
        assert!(
            error.sentence().contains(&object_type.to_string()),
            "{}",
            error.sentence()
        );
    }
}
