//! More of something than goes into one statement, and work that is stopped half-way.

use std::sync::Arc;
use std::time::Duration;

use model::{Phase, RestoreRequest};
use testkit::RecordedProgress;
use testkit::digest::{assert_equal, digest};
use testkit::postgres::Server;

use super::drive::{load, open, restore};
use super::round_trip::similar;
use super::saved::Saved;

/// A restore of many databases makes one after the other and publishes all at the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_waits_for_others_holds_no_connection() {
    let server = Server::version(17).start();
    server.least_rights_role();
    server.psql("postgres", ROLES);
    server.psql(
        "shop",
        "SET ROLE app; CREATE SCHEMA s; CREATE TABLE s.item (id int PRIMARY KEY);
         INSERT INTO s.item SELECT generate_series(1, 1000)",
    );
    let saved = Saved::by_source(&server, "shop").await;
    let request = saved.request("copy", Arc::new(RecordedProgress::new()));
    let mut target = open(&server, request).await.unwrap();
    let none_is_open = async |after: &str| {
        let ours = "SELECT string_agg(application_name || ' in ' || datname || ': ' || query, '; ')
                      FROM pg_stat_activity WHERE application_name LIKE 'backstay%'";
        let mut found = String::new();
        for _ in 0..50 {
            found = server.psql("postgres", ours);
            if found.trim().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("after {after}: {found}");
    };
    target.findings().await.unwrap();
    none_is_open("findings").await;
    target.prepare().await.unwrap();
    load(&mut *target, &saved).await.unwrap();
    none_is_open("load").await;
    target.build(2).await.unwrap();
    target.postscript().await.unwrap();
    none_is_open("postscript").await;
    target.publish().await.unwrap();
    let count = server.psql("copy", "SELECT count(*) FROM s.item");
    assert_eq!(count.trim(), "1000");
}

const ROLES: &str = "CREATE ROLE app; CREATE ROLE clerk; CREATE ROLE reader;
    GRANT app, clerk TO backstay_restore; CREATE DATABASE shop OWNER app";

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_objects_come_back_with_their_owners_and_rights() {
    let server = Server::version(17)
        .setting("max_locks_per_transaction", "256")
        .start();
    server.least_rights_role();
    server.psql("postgres", ROLES);
    server.psql(
        "shop",
        "SET ROLE app; CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO clerk;
         SELECT count(lo_put(lo_create(20000 + i), 0, convert_to(repeat(i::text || ' ', 1500), 'UTF8')))
           FROM generate_series(1, 1201) AS i;
         DO $$ BEGIN FOR i IN 1..450 LOOP
            EXECUTE format('CREATE SEQUENCE s.q%s START %s; SELECT nextval(''s.q%1$s'')', i, i * 3);
            EXECUTE format('GRANT USAGE ON SEQUENCE s.q%s TO reader', i);
            EXECUTE format('GRANT SELECT ON SEQUENCE s.q%s TO clerk WITH GRANT OPTION', i);
            EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO reader', 20000 + i);
         END LOOP; END $$;
         RESET ROLE; SET ROLE clerk;
         DO $$ BEGIN FOR i IN 1..450 LOOP
            EXECUTE format('GRANT SELECT ON SEQUENCE s.q%s TO reader', i);
         END LOOP; END $$;
         RESET ROLE; ALTER LARGE OBJECT 20900 OWNER TO clerk; COMMENT ON LARGE OBJECT 21201 IS 'the last'",
    );
    let saved = Saved::by_source(&server, "shop").await;
    let restored = restore(&server, &saved, |_| (), "copy").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (Vec::new(), Vec::new())
    );
    let expected = digest(&server.connect("shop").await).await.unwrap();
    assert_equal(
        &expected,
        &digest(&server.connect("copy").await).await.unwrap(),
    );
    similar(&server.dump_schema("shop"), &server.dump_schema("copy"));
    let objects = "SELECT md5(string_agg(format('%s %s %s %s', oid, lomowner::regrole, lomacl, obj_description(oid, 'pg_largeobject')), ';' ORDER BY oid)) FROM pg_largeobject_metadata";
    assert_eq!(server.psql("shop", objects), server.psql("copy", objects));
    assert_eq!(restored.progress.objects(Phase::Postscript), 450);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_keeps_the_owners_that_are_there_among_those_that_are_not() {
    let source = Server::version(17).start();
    source.least_rights_role();
    source.psql("postgres", "CREATE ROLE gone; CREATE ROLE \"gone too\"");
    source.psql("postgres", ROLES);
    source.psql(
        "shop",
        "CREATE SCHEMA s AUTHORIZATION app; CREATE SCHEMA t AUTHORIZATION \"gone too\";
         CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION s.f() OWNER TO gone;
         CREATE TABLE s.a (id int PRIMARY KEY); ALTER TABLE s.a OWNER TO gone;
         CREATE TABLE s.b (id int PRIMARY KEY REFERENCES s.a); ALTER TABLE s.b OWNER TO app;
         CREATE TABLE t.c (id int PRIMARY KEY REFERENCES s.b); ALTER TABLE t.c OWNER TO \"gone too\";
         CREATE VIEW s.d AS SELECT * FROM t.c; ALTER VIEW s.d OWNER TO clerk;
         GRANT USAGE ON SCHEMA s TO gone; GRANT SELECT ON s.a TO clerk, gone; GRANT SELECT ON s.b TO gone, reader;
         INSERT INTO s.a VALUES (1); INSERT INTO s.b VALUES (1); INSERT INTO t.c VALUES (1);
         SELECT lo_create(77777); ALTER LARGE OBJECT 77777 OWNER TO gone",
    );
    let saved = Saved::by_source(&source, "shop").await;
    let target = Server::version(17).start();
    target.least_rights_role();
    target.psql("postgres", ROLES);
    let as_copy = |request: &mut RestoreRequest| request.as_copy = true;
    let restored = restore(&target, &saved, as_copy, "copy").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (Vec::new(), Vec::new())
    );
    assert_eq!(restored.warned.len(), 2, "{:?}", restored.warned);
    let owners = "SELECT string_agg(relname || ' ' || relowner::regrole, ', ' ORDER BY relname)
        FROM pg_class WHERE relnamespace IN ('s'::regnamespace, 't'::regnamespace) AND relkind IN ('r', 'v')";
    assert_eq!(
        target.psql("copy", owners),
        "a backstay_restore, b app, c backstay_restore, d clerk"
    );
    let rights = "SELECT has_table_privilege('clerk', 's.a', 'SELECT'), has_table_privilege('reader', 's.b', 'SELECT')";
    assert_eq!(target.psql("copy", rights), "t|t");
    assert_eq!(
        target.psql("copy", "SELECT count(*) FROM s.a, s.b, t.c"),
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_dropped_leaves_nothing_behind() {
    let server = Server::version(17).start();
    server.least_rights_role();
    server.psql("postgres", ROLES);
    server.psql(
        "shop",
        "SET ROLE app; CREATE SCHEMA s; CREATE TABLE s.t (x int); INSERT INTO s.t VALUES (1);
         CREATE FUNCTION s.slow(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
            BEGIN IF current_database() <> 'shop' THEN PERFORM pg_sleep(600); END IF; RETURN x; END $$;
         CREATE INDEX one ON s.t (s.slow(x)); CREATE INDEX two ON s.t (s.slow(x))",
    );
    let saved = Saved::by_source(&server, "shop").await;
    let request = saved.request("copy", Arc::new(RecordedProgress::new()));
    let mut target = open(&server, request).await.unwrap();
    target.prepare().await.unwrap();
    load(&mut *target, &saved).await.unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname ~ '^backstay' AND wait_event = 'PgSleep'";
    {
        let build = target.build(2);
        let both_at_work = async {
            while server.psql("postgres", sleeping) != "2" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            built = build => panic!("it must not end: {built:?}"),
            () = both_at_work => {}
        }
    }
    target.discard().await.unwrap();
    let left = "SELECT (SELECT count(*) FROM pg_database WHERE datname ~ 'copy'),
        (SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^backstay 12')";
    let mut waited = 0;
    while server.psql("postgres", left) != "0|0" {
        waited += 1;
        assert!(waited < 100, "{}", server.psql("postgres", left));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
