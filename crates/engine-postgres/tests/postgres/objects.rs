//! What is in a saveset, and what is not.

use model::{Engine, ObjectName, ObjectType, Parent, RowFormat};
use serde_json::json;
use testkit::postgres::{SUPERUSER, Server};

use crate::reading::{Reading, begin, connection, engine, psql_copy};

const EVERYTHING: &str = "
CREATE SCHEMA app;
CREATE TABLE app.plain (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text);
INSERT INTO app.plain (t) SELECT 'x' FROM generate_series(1, 10);
CREATE UNLOGGED TABLE app.unlogged AS SELECT 1 AS a;
CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3), (4, 5);
CREATE TABLE ranged (d date, v int) PARTITION BY RANGE (d);
CREATE TABLE ranged_1 PARTITION OF ranged FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE ranged_2 PARTITION OF ranged DEFAULT;
INSERT INTO ranged VALUES ('2026-01-15', 1), ('2030-01-01', 2);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE hashed (m mood, v int) PARTITION BY HASH (m);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed VALUES ('sad', 1), ('ok', 2), ('happy', 3);
CREATE TABLE counted (n bigint) PARTITION BY HASH (n);
CREATE TABLE counted_0 PARTITION OF counted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO counted VALUES (1);
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM parent;
CREATE VIEW v AS SELECT * FROM parent;
CREATE FUNCTION f(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER trg BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION tf();
CREATE DOMAIN dom AS int; CREATE INDEX parent_a ON parent (a);
CREATE SEQUENCE loose START 100; SELECT nextval('loose');
CREATE TEMPORARY TABLE gone (a int);
CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE elsewhere (a int) USING other_heap; INSERT INTO elsewhere SELECT generate_series(1, 5000);
SELECT lo_from_bytea(4711, convert_to(repeat('large', 10000), 'UTF8'));
COMMENT ON LARGE OBJECT 4711 IS 'a comment'; GRANT SELECT ON LARGE OBJECT 4711 TO backstay;
COMMENT ON DATABASE shop IS 'the shop'; ALTER DATABASE shop SET work_mem = '7MB';
ALTER ROLE backstay IN DATABASE shop SET statement_timeout = '1ms';
GRANT CONNECT ON DATABASE shop TO backstay;
";

#[tokio::test(flavor = "multi_thread")]
async fn all_that_has_rows_is_planned_and_nothing_else() {
    let server = Server::version(17).start();
    let roles = server.least_rights_role();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", EVERYTHING);
    let backup = Reading::new(&server, "shop").read().await.unwrap();
    let mut planned: Vec<(String, u64)> = backup
        .plan
        .tables
        .iter()
        .map(|t| (t.name.to_string(), backup.count_of(&t.name.to_string())))
        .collect();
    planned.sort();
    let expected = [
        ("app.plain", 10),
        ("app.unlogged", 1),
        ("pg_catalog.pg_largeobject", 25),
        ("public.child", 2),
        ("public.counted_0", 1),
        ("public.elsewhere", 5000),
        ("public.hashed_0", backup.count_of("public.hashed_0")),
        ("public.hashed_1", 3 - backup.count_of("public.hashed_0")),
        ("public.parent", 1),
        ("public.ranged_1", 1),
        ("public.ranged_2", 1),
    ];
    assert_eq!(planned, expected.map(|(n, c)| (n.to_owned(), c)));

    let facts = |name| backup.facts_of(name);
    assert_eq!(facts("app.unlogged")["unlogged"], true);
    assert_eq!(facts("public.child")["columns"], json!(["a", "b"]));
    let root = json!({"schema": "public", "name": "hashed"});
    assert_eq!(facts("public.hashed_1")["load_through"], root);
    assert_eq!(facts("public.counted_0")["load_through"], json!(null));
    assert_eq!(facts("public.ranged_1")["partition_root"]["name"], "ranged");
    assert_eq!(facts("public.ranged_1")["load_through"], json!(null));
    assert_eq!(facts("pg_catalog.pg_largeobject")["kind"], "large_objects");
    let expected = psql_copy(
        &server,
        "shop",
        "SELECT a FROM public.elsewhere",
        RowFormat::Binary,
    );
    assert!(backup.rows_of("public.elsewhere") == expected);

    let large = backup.lines("large_objects.jsonl");
    assert_eq!(large.len(), 1);
    assert_eq!(large[0]["oid"], 4711);
    assert_eq!(
        (&large[0]["owner"], &large[0]["comment"]),
        (&json!(SUPERUSER), &json!("a comment"))
    );
    let grantees: Vec<_> = large[0]["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| &g["grantee"])
        .collect();
    assert!(grantees.contains(&&json!(roles.backup)), "{grantees:?}");

    let database: serde_json::Value =
        serde_json::from_slice(&backup.parts["database.json"]).unwrap();
    assert_eq!(database["comment"], "the shop");
    assert_eq!(database["owner"], SUPERUSER);
    assert_eq!(database["encoding"], "UTF8");
    assert_eq!(
        database["settings"][0],
        json!({"role": null, "parameter": "work_mem", "value": "7MB"})
    );
    assert_eq!(database["settings"][1]["role"], roles.backup);
    let globals = String::from_utf8(backup.parts["globals.sql"].clone()).unwrap();
    assert!(
        globals.contains("CREATE ROLE backstay;") && !globals.contains("PASSWORD"),
        "{globals}"
    );
    assert!(backup.parts["schema.dump"].starts_with(b"PGDMP"));

    let sequences = backup.lines("sequences.jsonl");
    let value = |name: &str| {
        sequences
            .iter()
            .find(|s| s["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(value("loose")["last_value"], 100);
    assert_eq!(value("loose")["is_called"], true);
    assert_eq!(value("plain_id_seq")["last_value"], 10);
    assert_eq!(backup.facts.0["encoding"], "UTF8");
    assert!(backup.facts.0["system_identifier"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_is_listed_in_the_saveset_and_live() {
    let server = Server::version(17).start();
    server.least_rights_role();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", EVERYTHING);
    let backup = Reading::new(&server, "shop").read().await.unwrap();
    let listed = |name: &str, object_type: ObjectType, parent: &str| {
        let found = backup.plan.objects.iter().find(|o| {
            o.name.to_string() == name
                && o.object_type == object_type
                && o.parent_name.to_string() == parent
        });
        found
            .unwrap_or_else(|| panic!("{name} is not listed"))
            .table
    };
    use ObjectType as O;
    assert_eq!(listed("shop", O::Database, "DBC"), None);
    assert_eq!(listed("app", O::Schema, "shop"), None);
    assert_eq!(
        listed("app.plain", O::Table, "shop"),
        Some(backup.place("app.plain"))
    );
    assert_eq!(listed("public.ranged", O::Table, "shop"), None);
    assert_eq!(listed("public.mv", O::MaterializedView, "shop"), None);
    for (name, object_type, parent) in [
        ("public.v", O::View, "shop"),
        ("public.f(a integer, b text)", O::Function, "shop"),
        ("trg", O::Trigger, "public.parent"),
        ("public.dom", O::Domain, "shop"),
        ("public.mood", O::Type, "shop"),
        ("public.parent_a", O::Index, "public.parent"),
        ("public.loose", O::Sequence, "shop"),
    ] {
        listed(name, object_type, parent);
    }
    let large = listed("pg_catalog.pg_largeobject", O::LargeObject, "shop");
    assert_eq!(large, Some(backup.place("pg_catalog.pg_largeobject")));
    let with_rows = backup.plan.objects.iter().filter(|o| o.table.is_some());
    assert_eq!(
        with_rows.count(),
        backup.plan.tables.len(),
        "each table is an object, once"
    );

    let engine = engine(&server);
    let connection = connection(&server, "backstay");
    let databases = engine.browse(&connection, &Parent::Root).await.unwrap();
    let shop = databases.iter().find(|d| d.name.last() == "shop").unwrap();
    assert!(shop.byte_count.unwrap() > 1_000_000);
    let parent = Parent::Database(ObjectName::one("shop"));
    // Somebody who rebuilds a table does not stop the one who looks.
    let client = server.connect("shop").await;
    client
        .batch_execute("BEGIN; LOCK TABLE app.plain")
        .await
        .unwrap();
    let objects = engine.browse(&connection, &parent).await.unwrap();
    let plain = objects
        .iter()
        .find(|o| o.name.to_string() == "app.plain")
        .unwrap();
    assert!(plain.byte_count.is_some());
    client.batch_execute("COMMIT").await.unwrap();
    let objects = engine.browse(&connection, &parent).await.unwrap();
    let plain = objects
        .iter()
        .find(|o| o.name.to_string() == "app.plain")
        .unwrap();
    assert!(plain.byte_count.unwrap() >= 8192);
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_tables_of_an_extension_give_the_rows_that_are_the_users() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    // An extension needs files in the server's directories; its marks in the catalog do not.
    server.psql(
        "shop",
        "CREATE TABLE config (a int, mine bool); INSERT INTO config VALUES (1, false), (2, true), (3, true);
         CREATE TABLE whole (a int); INSERT INTO whole VALUES (1);
         CREATE TABLE inner_one (a int); INSERT INTO inner_one VALUES (1);
         ALTER EXTENSION plpgsql ADD TABLE config; ALTER EXTENSION plpgsql ADD TABLE whole;
         ALTER EXTENSION plpgsql ADD TABLE inner_one;
         UPDATE pg_extension SET extconfig = ARRAY['config'::regclass, 'whole'::regclass]::oid[],
                extcondition = ARRAY['WHERE mine OR ''größe'' = ''x'' ORDER BY a DESC', ''];",
    );
    let backup = Reading::new(&server, "shop").read().await.unwrap();
    assert_eq!(backup.count_of("public.config"), 2);
    assert_eq!(backup.count_of("public.whole"), 1);
    assert_eq!(
        backup.plan.tables.len(),
        2,
        "the others come with the extension"
    );
    assert_eq!(backup.facts_of("public.config")["extension"], "plpgsql");
    assert_eq!(backup.facts_of("public.config")["encoding"], "UTF8");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_is_dropped_meanwhile_is_noted_and_one_that_is_renamed_begins_anew() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE SEQUENCE a; CREATE SEQUENCE b START 5; CREATE TABLE t (i int)",
    );
    let reading = Reading::new(&server, "shop");
    let mut source = reading.open().await.unwrap();
    let mut backup = begin(source.as_mut()).await.unwrap();
    server.psql("shop", "DROP SEQUENCE a");
    backup.read_rows(source.as_mut(), 2).await.unwrap();
    // Somebody changes the other one and takes his time: its value can be read all the same.
    let client = server.connect("shop").await;
    client
        .batch_execute("BEGIN; ALTER SEQUENCE b INCREMENT 2")
        .await
        .unwrap();
    backup.end(source).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    let values = backup.lines("sequences.jsonl");
    assert_eq!(values.len(), 1, "{values:?}");
    assert_eq!(
        (&values[0]["name"], &values[0]["last_value"]),
        (&json!("b"), &json!(5))
    );
    let notes = reading.progress.notes();
    assert!(
        notes.iter().any(|note| note.contains("public.a")),
        "{notes:?}"
    );

    let mut source = Reading::new(&server, "shop").open().await.unwrap();
    let mut backup = begin(source.as_mut()).await.unwrap();
    server.psql("shop", "ALTER SEQUENCE b RENAME TO c");
    backup.read_rows(source.as_mut(), 2).await.unwrap();
    let error = backup.end(source).await.unwrap_err();
    assert_eq!(
        (error.code(), error.retry()),
        ("catalog-changed", model::Retry::NewAttempt)
    );
}
