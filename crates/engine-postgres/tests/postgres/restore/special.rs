//! What is not in every database: other encodings and locales, rights on public, extensions of
//! one's own, things that only a superuser may make.

use std::sync::Arc;

use model::RestoreRequest;
use testkit::RecordedProgress;
use testkit::digest::{Digest, assert_equal, digest};
use testkit::postgres::Server;

use super::drive::{load, open, restore, restore_as_superuser, restore_with_tools_of};
use super::refusals::small;
use super::round_trip::similar;
use super::saved::Saved;

async fn rows(server: &Server, name: &str) -> Digest {
    digest(&server.connect(name).await).await.unwrap()
}

fn with_app(server: &Server) {
    server.least_rights_role();
    server.psql(
        "postgres",
        "CREATE ROLE app; CREATE ROLE other; GRANT app, other TO backstay_restore",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_in_public_come_back_although_their_owners_do_not_own_it() {
    for version in [14, 15, 18] {
        let server = Server::version(version).start();
        with_app(&server);
        server.psql("postgres", "CREATE DATABASE shop");
        server.psql("shop", "GRANT CREATE, USAGE ON SCHEMA public TO app; CREATE SCHEMA s AUTHORIZATION other; GRANT CREATE, USAGE ON SCHEMA s TO app");
        server.psql("shop", "ALTER DATABASE shop OWNER TO other");
        server.psql(
            "shop",
            "SET ROLE app; CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 10);
             CREATE TABLE s.here (id int REFERENCES item); INSERT INTO s.here VALUES (7);
             RESET ROLE; REVOKE CREATE ON SCHEMA s FROM app",
        );
        let saved = Saved::by_source(&server, "shop").await;
        let restored = restore(&server, &saved, |_| (), "copy").await.unwrap();
        assert_eq!(restored.errors, [""; 0]);
        assert_equal(&rows(&server, "shop").await, &rows(&server, "copy").await);
        let warnings = restored.progress.warnings();
        if version == 14 {
            // There public is the first superuser's.
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(
                warnings[0].contains("GRANT ALL ON SCHEMA public TO app"),
                "{warnings:?}"
            );
        } else {
            assert_eq!(warnings, [""; 0]);
            similar(&server.dump_schema("shop"), &server.dump_schema("copy"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_public_that_was_dropped_or_given_away_is_so_again() {
    for (version, change) in [
        (15, "DROP SCHEMA public"),
        (
            17,
            "ALTER SCHEMA public OWNER TO app; COMMENT ON SCHEMA public IS 'ours'",
        ),
    ] {
        let server = Server::version(version).start();
        with_app(&server);
        server.psql("postgres", "CREATE DATABASE shop OWNER app");
        server.psql(
            "shop",
            "CREATE SCHEMA s AUTHORIZATION app; SET ROLE app; CREATE TABLE s.t AS SELECT 1 AS x",
        );
        server.psql("shop", change);
        let saved = Saved::by_source(&server, "shop").await;
        let restored = restore(&server, &saved, |_| (), "copy").await.unwrap();
        assert_eq!(
            (restored.errors, restored.progress.warnings()),
            (Vec::new(), Vec::new())
        );
        similar(&server.dump_schema("shop"), &server.dump_schema("copy"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_encoding_comes_back_in_it() {
    for (encoding, word) in [("LATIN1", "'h\u{e9}llo'"), ("SQL_ASCII", "E'\\xff\\xfe'")] {
        let server = Server::version(17).start();
        with_app(&server);
        server.psql(
            "postgres",
            &format!(
                "CREATE DATABASE shop OWNER app TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
            ),
        );
        server.psql("shop", &format!(
            "SET client_encoding = 'UTF8'; SET ROLE app; CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, x text);
             INSERT INTO s.t SELECT i, {word} FROM generate_series(1, 100) AS i"
        ));
        if encoding == "LATIN1" {
            server.psql("shop", "SET client_encoding = 'UTF8'; SET ROLE app; CREATE TABLE s.\"\u{fc}\" (\"\u{e4}\" text); INSERT INTO s.\"\u{fc}\" VALUES ('\u{f6}')");
        }
        let saved = Saved::by_source(&server, "shop").await;
        let restored = restore(&server, &saved, |_| (), "copy").await.unwrap();
        assert_eq!(
            (restored.errors, restored.progress.warnings()),
            (Vec::new(), Vec::new())
        );
        assert_equal(&rows(&server, "shop").await, &rows(&server, "copy").await);
        assert_eq!(server.psql("copy", "SHOW server_encoding"), encoding);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locale_of_icu_or_builtin_is_kept_and_one_that_is_not_there_is_told() {
    let server = Server::version(17).start();
    with_app(&server);
    for (name, locale) in [
        (
            "a",
            "LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' ICU_RULES '&a < z' LOCALE 'C'",
        ),
        (
            "b",
            "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'",
        ),
    ] {
        server.psql(
            "postgres",
            &format!(
                "CREATE DATABASE {name} OWNER app TEMPLATE template0 ENCODING 'UTF8' {locale}"
            ),
        );
        server.psql(
            name,
            "CREATE SCHEMA s AUTHORIZATION app; SET ROLE app; CREATE TABLE s.t AS SELECT 'x' AS x",
        );
        let saved = Saved::by_source(&server, name).await;
        let copy = format!("copy of {name}");
        let restored = restore(&server, &saved, |_| (), &copy).await.unwrap();
        assert_eq!(restored.progress.warnings(), [""; 0]);
        let sql = "SELECT datlocprovider, datlocale, daticurules, datcollate FROM pg_database WHERE datname = current_database()";
        assert_eq!(server.psql(name, sql), server.psql(&copy, sql));
    }
    let saved = Saved::by_source(&server, "b").await;
    saved.change_facts(|facts| {
        facts["locale_provider"] = "c".into();
        facts["lc_collate"] = "xx_XX.utf8".into();
    });
    let restored = restore(&server, &saved, |_| (), "elsewhere").await.unwrap();
    let warnings = restored.progress.warnings();
    assert!(warnings.iter().any(|w| w.contains("xx_XX")), "{warnings:?}");
    assert_eq!(server.psql("elsewhere", "SELECT x FROM s.t"), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_14_comes_back_on_18() {
    let old = super::round_trip::server_with_shop(14);
    let new = Server::version(18).start();
    new.least_rights_role();
    new.psql("postgres", super::round_trip::ROLES);
    let saved = Saved::by_source(&old, "shop").await;
    let restored = restore(&new, &saved, |_| (), "shop").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (Vec::new(), Vec::new())
    );
    let expected = super::round_trip::rows_of(&old, "shop").await;
    assert_equal(&expected, &super::round_trip::rows_of(&new, "shop").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_database_of_18_comes_back_on_14_with_a_warning() {
    let new = Server::version(18).start();
    let saved = small(&new).await;
    let old = Server::version(14).start();
    with_app(&old);
    // The tools of 18 wrote it, so those of 18 must restore it.
    let restored = restore_with_tools_of(&new, &old, &saved, "copy")
        .await
        .unwrap();
    assert_eq!(restored.errors, [""; 0]);
    assert_eq!(restored.warned.len(), 1, "{:?}", restored.warned);
    assert!(
        restored.warned[0].contains("PostgreSQL 18"),
        "{:?}",
        restored.warned
    );
    assert_equal(&rows(&new, "shop").await, &rows(&old, "copy").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_and_statistics_are_left_out_on_request_but_never_what_rows_must_be() {
    let server = Server::version(17).start();
    let saved = small(&server).await;
    let skip = |request: &mut RestoreRequest| {
        request.skip_indexes = true;
        request.skip_statistics = true;
    };
    let restored = restore(&server, &saved, skip, "copy").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (Vec::new(), Vec::new())
    );
    let indexes = "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 's'";
    assert_eq!(server.psql("copy", indexes), "item_pkey part_once");
    let analyzed = "SELECT count(*) FROM pg_stats WHERE schemaname = 's'";
    assert_eq!(server.psql("copy", analyzed), "0");
    restore(&server, &saved, |_| (), "with").await.unwrap();
    assert_eq!(server.psql("with", indexes), "item_pkey part_n part_once");
    assert_ne!(server.psql("with", analyzed), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_the_role_may_not_make_are_told_with_their_statement() {
    let server = Server::version(17).start();
    small(&server).await;
    server.psql(
        "postgres",
        "ALTER DATABASE shop SET log_statement = 'all'; ALTER DATABASE shop SET work_mem = '9MB';
         ALTER ROLE app IN DATABASE shop SET work_mem = '7MB'",
    );
    let saved = Saved::by_source(&server, "shop").await;
    let restored = restore(&server, &saved, |_| (), "copy").await.unwrap();
    let warnings = restored.progress.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let all = warnings.join("\n");
    assert!(
        all.contains("\"log_statement\"")
            && all.contains("ALTER ROLE \"app\" IN DATABASE \"copy\""),
        "{all}"
    );
    let settings = "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = 'copy'";
    assert_eq!(server.psql("postgres", settings), "{work_mem=9MB}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_stay_away_and_event_triggers_come_back_with_a_superuser_only() {
    let server = Server::version(17).start();
    small(&server).await;
    server.psql(
        "shop",
        "CREATE SUBSCRIPTION sub CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false);
         CREATE FUNCTION s.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no DDL here'; END $$;
         ALTER FUNCTION s.refuse() OWNER TO app;
         CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'CREATE INDEX') EXECUTE FUNCTION s.refuse()",
    );
    // The superuser's own objects keep a role that is no superuser away, but for a copy.
    let saved = Saved::by_source(&server, "shop").await;
    let as_copy = |request: &mut RestoreRequest| request.as_copy = true;
    let restored = restore(&server, &saved, as_copy, "copy").await.unwrap();
    assert_eq!(restored.errors, [""; 0]);
    assert_eq!(
        server.psql("copy", "SELECT count(*) FROM pg_event_trigger"),
        "0"
    );
    let restored = restore_as_superuser(&server, &saved, "all").await.unwrap();
    assert_eq!(restored.errors, [""; 0]);
    assert_eq!(
        server.psql("all", "SELECT count(*) FROM pg_event_trigger"),
        "1"
    );
    assert_eq!(server.psql("all", "SELECT count(*) FROM s.item"), "1000");
    assert!(
        server
            .try_psql("all", "CREATE TABLE s.more ()")
            .unwrap_err()
            .contains("no DDL here")
    );
    let subscriptions = "SELECT datname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid";
    assert_eq!(server.psql("postgres", subscriptions), "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_extensions_configuration_come_back_beside_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let extension = folder.path().join("extension");
    std::fs::create_dir(&extension).unwrap();
    let control = "default_version = '1'\nsuperuser = false\nrelocatable = false\n";
    std::fs::write(extension.join("units.control"), control).unwrap();
    let script = "CREATE TABLE unit (name text PRIMARY KEY, ours bool DEFAULT false);
        INSERT INTO unit VALUES ('metre', true);
        SELECT pg_catalog.pg_extension_config_dump('unit', 'WHERE NOT ours');";
    std::fs::write(extension.join("units--1.sql"), script).unwrap();
    testkit_may_read(folder.path());
    testkit_may_read(&extension);
    let path = format!("$system:{}", folder.path().display());
    let server = Server::version(18)
        .setting("extension_control_path", &path)
        .start();
    with_app(&server);
    server.psql("postgres", "CREATE DATABASE shop OWNER app");
    server.psql("shop", "SET ROLE app; CREATE SCHEMA s; CREATE EXTENSION units SCHEMA s; INSERT INTO s.unit VALUES ('yard')");
    let saved = Saved::by_source(&server, "shop").await;
    let restored = restore(&server, &saved, |_| (), "copy").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (Vec::new(), Vec::new())
    );
    assert_equal(&rows(&server, "shop").await, &rows(&server, "copy").await);
}

/// The servers run as another user.
fn testkit_may_read(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_that_the_role_may_not_run_ends_the_restore_and_leaves_nothing() {
    let server = Server::version(17).start();
    small(&server).await;
    server.psql(
        "shop",
        "CREATE FUNCTION s.random_c() RETURNS float8 LANGUAGE internal AS 'drandom'; ALTER FUNCTION s.random_c() OWNER TO app",
    );
    let saved = Saved::by_source(&server, "shop").await;
    let error = restore(&server, &saved, |_| (), "copy")
        .await
        .expect_err("it must fail");
    assert_eq!(error.code(), "dictionary-failed");
    assert!(
        error
            .sentence()
            .contains("permission denied for language internal"),
        "{}",
        error.sentence()
    );
    assert_eq!(
        server.psql(
            "postgres",
            "SELECT count(*) FROM pg_database WHERE datname ~ 'copy'"
        ),
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_target_refuses_ends_the_restore_naming_the_table_and_the_reason() {
    let server = Server::version(17).start();
    with_app(&server);
    server.psql("postgres", "CREATE DATABASE shop OWNER app");
    server.psql(
        "shop",
        "SET ROLE app; CREATE SCHEMA s; CREATE TABLE s.t (x int CHECK (x >= 0), y text);
         INSERT INTO s.t SELECT i, repeat('y', 1000) FROM generate_series(1, 20000) AS i",
    );
    let mut saved = Saved::by_source(&server, "shop").await;
    // The first value of the first row becomes negative; many more follow.
    let (_, bytes) = saved
        .ranges
        .iter_mut()
        .max_by_key(|(task, _)| task.rows)
        .unwrap();
    assert!(bytes.len() > 4 << 20);
    bytes[6] = 0xff;
    let error = restore(&server, &saved, |_| (), "copy")
        .await
        .expect_err("it must fail");
    let text = error.sentence();
    assert!(
        text.contains("loading rows into s.t") && text.contains("t_x_check"),
        "{text}"
    );
    let left = "SELECT count(*) FROM pg_database WHERE datname ~ 'copy'";
    assert_eq!(server.psql("postgres", left), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_before_the_renames_loses_nothing() {
    let server = Server::version(17).durable().start();
    let saved = small(&server).await;
    let mut request = saved.request("shop", Arc::new(RecordedProgress::new()));
    request.replace_existing = true;
    let mut target = open(&server, request).await.unwrap();
    target.prepare().await.unwrap();
    load(&mut *target, &saved).await.unwrap();
    target.build(2).await.unwrap();
    target.postscript().await.unwrap();
    server.crash();
    let error = target.publish().await.expect_err("the server is gone");
    assert_eq!(error.code(), "restore-left-behind");
    assert!(
        error.sentence().contains("backstay_12_1_shop"),
        "{}",
        error.sentence()
    );
    server.restart();
    for name in ["shop", "backstay_12_1_shop"] {
        assert_eq!(server.psql(name, "SELECT count(*) FROM s.item"), "1000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_outlives_a_crash_at_once() {
    // Nothing but a commit that waits brings WAL to the disk here.
    let server = Server::version(17)
        .durable()
        .setting("wal_writer_delay", "10s")
        .setting("wal_writer_flush_after", "1GB")
        .start();
    let saved = small(&server).await;
    restore(&server, &saved, |_| (), "copy").await.unwrap();
    server.crash();
    server.restart();
    assert_equal(&rows(&server, "shop").await, &rows(&server, "copy").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_18_come_back_and_missing_ones_are_gathered() {
    let server = Server::version(18).setting("autovacuum", "off").start();
    with_app(&server);
    server.psql("postgres", "CREATE DATABASE shop OWNER app");
    server.psql(
        "shop",
        "SET ROLE app; CREATE SCHEMA s;
         CREATE TABLE s.known (id int PRIMARY KEY, x int); CREATE TABLE s.both (x int, y int);
         CREATE STATISTICS s.xy (ndistinct) ON x, y FROM s.both; CREATE TABLE s.never (z int);
         INSERT INTO s.known SELECT i, i % 7 FROM generate_series(1, 700) AS i;
         INSERT INTO s.both SELECT i, i FROM generate_series(1, 100) AS i;
         ANALYZE s.known; INSERT INTO s.never SELECT generate_series(1, 50);
         INSERT INTO s.known SELECT i, i FROM generate_series(1001, 2000) AS i",
    );
    let saved = Saved::by_source(&server, "shop").await;
    let restored = restore(&server, &saved, |_| (), "copy").await.unwrap();
    assert_eq!(restored.progress.notes(), [""; 0]);
    // Those of the source, from before the second half was there: nobody has gathered new ones.
    let known = "SELECT attname, n_distinct, most_common_vals FROM pg_stats WHERE tablename = 'known' ORDER BY 1";
    let expected = server.psql("shop", known);
    assert!(expected.contains("x|7|"), "{expected}");
    assert_eq!(server.psql("copy", known), expected);
    let gathered = "SELECT string_agg(DISTINCT tablename, ' ' ORDER BY tablename) FROM pg_stats WHERE schemaname = 's'";
    assert_eq!(server.psql("copy", gathered), "both known never");
    assert_eq!(
        server.psql(
            "copy",
            "SELECT count(*) FROM pg_stats_ext WHERE n_distinct IS NOT NULL"
        ),
        "1"
    );
}
