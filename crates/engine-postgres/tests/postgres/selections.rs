//! A part of a database: what is locked, read and listed, and what is refused.

use model::{
    ChosenObject, DatabaseSelection, ExcludedObject, ObjectName, ObjectType, Outcome, Scope,
};
use testkit::postgres::Server;

use crate::reading::{Backup, Reading, begin};

const SHOP: &str = "
CREATE SCHEMA sales;
CREATE TABLE sales.orders (id serial PRIMARY KEY, t text);
INSERT INTO sales.orders (t) SELECT 'x' FROM generate_series(1, 10);
CREATE TABLE sales.log AS SELECT generate_series(1, 5) AS a;
CREATE VIEW sales.recent AS SELECT * FROM sales.orders;
CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int);
INSERT INTO item (n) SELECT 1 FROM generate_series(1, 3);
CREATE INDEX item_n ON item (n);
CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER trg BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION tf();
CREATE TABLE ranged (d int, v int, PRIMARY KEY (d)) PARTITION BY RANGE (d);
CREATE TABLE ranged_1 PARTITION OF ranged FOR VALUES FROM (0) TO (10);
CREATE TABLE ranged_2 PARTITION OF ranged FOR VALUES FROM (10) TO (100) PARTITION BY RANGE (d);
CREATE TABLE sales.ranged_2a PARTITION OF ranged_2 FOR VALUES FROM (10) TO (20);
CREATE TABLE ranged_2b PARTITION OF ranged_2 FOR VALUES FROM (20) TO (100);
INSERT INTO ranged VALUES (1, 1), (11, 2), (12, 2), (21, 3);
CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM parent;
CREATE VIEW v AS SELECT * FROM parent;
CREATE SEQUENCE loose START 100; SELECT nextval('loose');
CREATE FUNCTION f(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE DOMAIN dom AS int; CREATE FOREIGN DATA WRAPPER none; CREATE SERVER far FOREIGN DATA WRAPPER none;
CREATE FOREIGN TABLE away (a int) SERVER far;
SELECT lo_from_bytea(4711, 'large');
";

fn shop(version: u32) -> Server {
    let server = Server::version(version).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", SHOP);
    server
}

fn chosen(objects: &[(&str, ObjectType)]) -> DatabaseSelection {
    let one = |(name, kind): &(&str, ObjectType)| ChosenObject::new(name.parse().unwrap(), *kind);
    DatabaseSelection::only(ObjectName::one("shop"), objects.iter().map(one).collect())
}

fn without(objects: &[(&str, ObjectType)]) -> DatabaseSelection {
    DatabaseSelection {
        database: ObjectName::one("shop"),
        scope: Scope::Whole {
            exclude: excluded(objects),
        },
    }
}

fn excluded(objects: &[(&str, ObjectType)]) -> Vec<ExcludedObject> {
    let one = |(name, kind): &(&str, ObjectType)| ExcludedObject::new(name.parse().unwrap(), *kind);
    objects.iter().map(one).collect()
}

async fn read(server: &Server, selection: DatabaseSelection) -> Outcome<Backup> {
    let mut reading = Reading::new(server, "shop");
    reading.selection = selection;
    reading.read().await
}

/// `table rows`, sorted.
fn planned(backup: &Backup) -> Vec<String> {
    let names = backup.plan.tables.iter().map(|t| t.name.to_string());
    let mut all: Vec<String> = names
        .map(|name| format!("{name} {}", backup.count_of(&name)))
        .collect();
    all.sort();
    all
}

fn listed(backup: &Backup) -> Vec<String> {
    let objects = backup.plan.objects.iter();
    let mut all: Vec<String> = objects
        .map(|o| format!("{} {}", o.object_type, o.name))
        .collect();
    all.sort();
    all
}

fn sequences(backup: &Backup) -> Vec<String> {
    let lines = backup.lines("sequences.jsonl");
    let mut all: Vec<String> = lines
        .iter()
        .map(|line| format!("{} {}", line["name"].as_str().unwrap(), line["last_value"]))
        .collect();
    all.sort();
    all
}

use ObjectType as O;

#[tokio::test(flavor = "multi_thread")]
async fn only_chosen_objects_are_locked_read_and_listed_with_what_goes_with_them() {
    let server = shop(17);
    let mut reading = Reading::new(&server, "shop");
    reading.selection = chosen(&[
        ("item", O::Table),
        ("public.ranged", O::Table),
        ("parent", O::Table),
        ("mv", O::MaterializedView),
        ("v", O::View),
        ("loose", O::Sequence),
        ("f", O::Function),
        ("away", O::ForeignTable),
    ]);
    let mut source = reading.open().await.unwrap();
    let locked = "SELECT string_agg(DISTINCT l.relation::regclass::text, ' ' ORDER BY l.relation::regclass::text)
          FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
         WHERE a.application_name = 'backstay 121.1' AND c.relkind = 'r' AND c.relnamespace <> 'pg_catalog'::regnamespace";
    assert_eq!(
        server.psql("shop", locked),
        "item parent ranged_1 ranged_2b sales.ranged_2a"
    );
    let mut backup = begin(source.as_mut()).await.unwrap();
    backup.read_rows(source.as_mut(), 2).await.unwrap();
    backup.end(source).await.unwrap();
    let expected = [
        "public.item 3",
        "public.parent 1",
        "public.ranged_1 1",
        "public.ranged_2b 1",
        "sales.ranged_2a 2",
    ];
    assert_eq!(planned(&backup), expected);
    let expected = [
        "DATABASE shop",
        "FOREIGN_TABLE public.away",
        "FUNCTION public.f(a integer, b text)",
        "INDEX public.item_n",
        "INDEX public.item_pkey",
        "INDEX public.ranged_1_pkey",
        "INDEX public.ranged_2_pkey",
        "INDEX public.ranged_2b_pkey",
        "INDEX public.ranged_pkey",
        "INDEX sales.ranged_2a_pkey",
        "MATERIALIZED_VIEW public.mv",
        "SEQUENCE public.item_id_seq",
        "SEQUENCE public.loose",
        "TABLE public.item",
        "TABLE public.parent",
        "TABLE public.ranged",
        "TABLE public.ranged_1",
        "TABLE public.ranged_2",
        "TABLE public.ranged_2b",
        "TABLE sales.ranged_2a",
        "TRIGGER trg",
        "VIEW public.v",
    ];
    assert_eq!(listed(&backup), expected);
    assert_eq!(sequences(&backup), ["item_id_seq 3", "loose 100"]);
    assert_eq!(backup.parts["large_objects.jsonl"], b"");
    // The dictionary is the whole database's.
    assert!(backup.parts["schema.dump"].starts_with(b"PGDMP"));
    assert_eq!(reading.progress.warnings(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_alone_a_branch_and_a_schema_without_some_of_it() {
    let server = shop(14);
    let backup = read(&server, chosen(&[("ranged_1", O::Table)])).await;
    assert_eq!(planned(&backup.unwrap()), ["public.ranged_1 1"]);
    let backup = read(&server, chosen(&[("ranged_2", O::Table)])).await;
    let expected = ["public.ranged_2b 1", "sales.ranged_2a 2"];
    assert_eq!(planned(&backup.unwrap()), expected);

    let mut sales = chosen(&[("sales", O::Schema)]);
    let Scope::Only(objects) = &mut sales.scope else {
        unreachable!()
    };
    objects[0].exclude = excluded(&[("log", O::Table), ("sales.recent", O::View)]);
    let backup = read(&server, sales).await.unwrap();
    assert_eq!(planned(&backup), ["sales.orders 10", "sales.ranged_2a 2"]);
    let expected = [
        "DATABASE shop",
        "INDEX sales.orders_pkey",
        "INDEX sales.ranged_2a_pkey",
        "SCHEMA sales",
        "SEQUENCE sales.orders_id_seq",
        "TABLE sales.orders",
        "TABLE sales.ranged_2a",
    ];
    assert_eq!(listed(&backup), expected);
    assert_eq!(sequences(&backup), ["orders_id_seq 10"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_takes_with_it_what_goes_with_it() {
    let server = shop(16);
    let mut reading = Reading::new(&server, "shop");
    reading.selection = without(&[
        ("item", O::Table),
        ("sales", O::Database),
        ("ranged_1", O::Table),
        ("f(a integer, b text)", O::Function),
        ("pg_catalog.pg_largeobject", O::LargeObject),
        ("nothing", O::Table),
    ]);
    let backup = reading.read().await.unwrap();
    let expected = ["public.child 1", "public.parent 1", "public.ranged_2b 1"];
    assert_eq!(planned(&backup), expected);
    assert_eq!(sequences(&backup), ["loose 100"]);
    assert_eq!(backup.parts["large_objects.jsonl"], b"");
    let listed = listed(&backup);
    let gone = |name: &str| !listed.iter().any(|object| object.contains(name));
    for name in ["item", "sales", "ranged_1", "trg", "public.f(", "large"] {
        assert!(gone(name), "{name}: {listed:?}");
    }
    for there in ["TABLE public.ranged", "VIEW public.v", "DOMAIN public.dom"] {
        assert!(listed.iter().any(|object| object == there), "{there}");
    }
    assert_eq!(
        reading.progress.warnings(),
        ["TABLE nothing is to be left out and is not there"]
    );
    // A branch of partitions that is left out, and one that stands in a schema that is not.
    let backup = read(&server, without(&[("ranged_2", O::Table)])).await;
    let left = planned(&backup.unwrap());
    assert!(left.contains(&"public.ranged_1 1".to_owned()), "{left:?}");
    assert!(
        !left.iter().any(|table| table.contains("ranged_2")),
        "{left:?}"
    );
    assert!(left.contains(&"pg_catalog.pg_largeobject 1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_chosen_and_not_there_is_named_with_what_was_meant_perhaps() {
    let server = shop(17);
    let selection = chosen(&[
        ("item", O::Table),
        ("nowhere", O::Table),
        ("public.Parent", O::Table),
        ("v", O::Table),
        ("Sales", O::Schema),
        ("g", O::Function),
    ]);
    let error = read(&server, selection)
        .await
        .err()
        .expect("they are not there");
    assert_eq!(
        (error.code(), error.blame(), error.retry()),
        ("no-such-object", model::Blame::Missing, model::Retry::Never)
    );
    assert_eq!(
        error.to_string(),
        "database \"shop\" has no TABLE nowhere, TABLE public.Parent (there is TABLE public.parent), \
         TABLE v (there is VIEW public.v), SCHEMA Sales (there is SCHEMA sales), FUNCTION g"
    );
    let large = chosen(&[("4711", O::LargeObject)]);
    let error = read(&server, large).await.err().expect("not alone");
    assert_eq!(error.code(), "not-built-yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_stops_only_whoever_chooses_it() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop; ");
    server.psql(
        "shop",
        "CREATE ROLE poor LOGIN; CREATE TABLE mine (a int); INSERT INTO mine VALUES (1); GRANT SELECT ON mine TO poor;
         CREATE TABLE secret (a int, b serial); CREATE VIEW over_it AS SELECT * FROM secret;
         CREATE TABLE policed (a int); INSERT INTO policed VALUES (1); GRANT SELECT ON policed TO poor;
         ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
         CREATE SCHEMA closed; CREATE TABLE closed.t (a int); CREATE SEQUENCE closed.s",
    );
    let mut reading = Reading::new(&server, "shop");
    reading.user = "poor";
    reading.selection = chosen(&[("mine", O::Table)]);
    let backup = reading.read().await.unwrap();
    assert_eq!(planned(&backup), ["public.mine 1"]);
    assert_eq!(reading.progress.skipped_objects(), []);

    reading.selection = without(&[
        ("secret", O::Table),
        ("closed", O::Schema),
        ("policed", O::Table),
    ]);
    let error = reading.read().await.err().expect("the view is chosen");
    let said = error.to_string();
    assert!(
        said.contains("public.over_it") && !said.contains("closed"),
        "{said}"
    );
    assert!(
        said.contains("GRANT SELECT ON public.secret TO \"poor\""),
        "{said}"
    );
    reading.skip_without_rights = true;
    let backup = reading.read().await.unwrap();
    assert_eq!(planned(&backup), ["public.mine 1"]);
    let skipped = reading.progress.skipped_objects();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0].object, "public.over_it");
    assert!(!listed(&backup).contains(&"VIEW public.over_it".to_owned()));

    reading.skip_without_rights = false;
    for (table, grant) in [
        ("secret", "GRANT SELECT ON public.secret"),
        ("closed.t", "GRANT USAGE ON SCHEMA closed"),
        ("policed", "BYPASSRLS"),
    ] {
        reading.selection = chosen(&[(table, O::Table)]);
        let error = reading.read().await.err().expect(table);
        assert_eq!(error.code(), "insufficient-privilege");
        assert!(error.to_string().contains(grant), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_chosen_and_left_out_by_names_that_are_hard_to_write() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    let hard = [
        "a.b",
        "with \"quotes\"",
        "with space",
        "größe 🐘",
        "new\nline",
        "'q'",
        "b\\s",
        "*",
        "U",
    ];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let client = server.connect("shop").await;
    for (i, name) in hard.iter().enumerate() {
        let (schema, table) = (quoted(hard[(i + 1) % hard.len()]), quoted(name));
        client
            .batch_execute(&format!(
                "CREATE SCHEMA IF NOT EXISTS {schema}; CREATE TABLE {schema}.{table} (a serial);
                 INSERT INTO {schema}.{table} SELECT FROM generate_series(1, {})",
                i + 1
            ))
            .await
            .unwrap();
    }
    for (i, name) in hard.iter().enumerate() {
        let full = ObjectName::two(hard[(i + 1) % hard.len()], *name).to_string();
        let backup = read(&server, chosen(&[(&full, O::Table)])).await.unwrap();
        assert_eq!(planned(&backup), [format!("{full} {}", i + 1)]);
        assert_eq!(backup.lines("sequences.jsonl")[0]["last_value"], i + 1);
        let backup = read(&server, without(&[(&full, O::Table)])).await.unwrap();
        assert_eq!(backup.plan.tables.len(), hard.len() - 1);
        assert!(!planned(&backup).contains(&format!("{full} {}", i + 1)));
    }
}

/// Somebody who swaps tables by renaming them must not end with a saveset that lacks the chosen one.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_renamed_into_the_selection_meanwhile_is_read() {
    let server = std::sync::Arc::new(Server::version(17).start());
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE current (a int); INSERT INTO current VALUES (1); CREATE TABLE next (a int); INSERT INTO next VALUES (1), (2)",
    );
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapping = std::thread::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        move || {
            let mut swaps = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                server.psql(
                    "shop",
                    "BEGIN; ALTER TABLE current RENAME TO x; ALTER TABLE next RENAME TO current; ALTER TABLE x RENAME TO next; COMMIT",
                );
                swaps += 1;
                std::thread::sleep(std::time::Duration::from_millis(150));
            }
            swaps
        }
    });
    let mut outcomes = Vec::new();
    for _ in 0..8 {
        outcomes.push(read(&server, chosen(&[("current", O::Table)])).await);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(swapping.join().unwrap() > 1);
    for outcome in outcomes {
        let backup = outcome.unwrap();
        let planned = planned(&backup);
        assert!(
            planned == ["public.current 1"] || planned == ["public.current 2"],
            "{planned:?}"
        );
    }
}
