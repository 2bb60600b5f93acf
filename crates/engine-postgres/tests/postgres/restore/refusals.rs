//! What stops a restore, and that nothing is lost by it.

use std::sync::Arc;

use model::{Blame, Connection, Engine, Findings, Outcome, RestoreRequest, SecretString};
use testkit::RecordedProgress;
use testkit::digest::{assert_equal, digest};
use testkit::postgres::Server;
use tokio_postgres::NoTls;

use super::drive::{credentials, engine, load, open, open_by, restore, site};
use super::saved::{Saved, Stuck};

/// A small database: two tables of one owner, made on the server that it is restored to.
pub async fn small(server: &Server) -> Saved {
    server.least_rights_role();
    server.psql(
        "postgres",
        "CREATE ROLE app; GRANT app TO backstay_restore; CREATE DATABASE shop OWNER app",
    );
    server.psql(
        "shop",
        "SET ROLE app; CREATE SCHEMA s;
         CREATE TABLE s.item (id int PRIMARY KEY, name text);
         CREATE TABLE s.part (item int REFERENCES s.item, n int);
         INSERT INTO s.item SELECT i, 'item ' || i FROM generate_series(1, 1000) AS i;
         INSERT INTO s.part SELECT i, i FROM generate_series(1, 1000) AS i;
         CREATE INDEX part_n ON s.part (n);
         CREATE UNIQUE INDEX part_once ON s.part (n, item)",
    );
    Saved::by_hand(server, "shop").await
}

fn databases(server: &Server) -> String {
    let sql = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname !~ '^template'";
    server.psql("postgres", sql)
}

async fn findings(
    server: &Server,
    saved: &Saved,
    name: &str,
    change: impl FnOnce(&mut RestoreRequest),
) -> Findings {
    let mut request = saved.request(name, Arc::new(RecordedProgress::new()));
    change(&mut request);
    let mut target = open(server, request).await.unwrap();
    target.findings().await.unwrap()
}

fn codes(findings: &Findings) -> Vec<&str> {
    findings.obstacles.iter().map(|o| o.code.as_str()).collect()
}

/// The error of a restore that must fail.
fn refused<T: std::fmt::Debug>(outcome: Outcome<T>) -> (&'static str, Blame, String) {
    let error = outcome.expect_err("it must be refused");
    (error.code(), error.blame(), error.sentence())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_target_is_refused_and_untouched() {
    let server = Server::version(17).start();
    let saved = small(&server).await;
    let before = digest(&server.connect("shop").await).await.unwrap();
    let found = findings(&server, &saved, "shop", |_| ()).await;
    assert_eq!(codes(&found), ["target-not-empty"]);
    let (code, blame, text) = refused(restore(&server, &saved, |_| (), "shop").await);
    assert_eq!((code, blame), ("restore-obstacle", Blame::Conflict));
    assert!(text.contains("relation s.item"), "{text}");
    let as_copy = |request: &mut RestoreRequest| {
        request.as_copy = true;
        request.replace_existing = true;
    };
    let found = findings(&server, &saved, "shop", as_copy).await;
    assert_eq!(codes(&found), ["target-exists"]);
    let after = digest(&server.connect("shop").await).await.unwrap();
    assert_equal(&before, &after);
    assert_eq!(databases(&server), "postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_say_what_will_be_done_and_change_nothing() {
    let server = Server::version(17).start();
    let saved = small(&server).await;
    let found = findings(&server, &saved, "copy", |_| ()).await;
    assert_eq!(codes(&found), [""; 0]);
    assert_eq!(found.warnings, [""; 0]);
    assert!(found.bytes_needed > 20_000, "{}", found.bytes_needed);
    let steps = found.steps.join("\n");
    assert!(
        steps.contains("backstay_12_1_copy") && steps.contains("2000 rows"),
        "{steps}"
    );
    assert_eq!(databases(&server), "postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_ends_sessions_and_keeps_the_old_database() {
    let server = Server::version(16).start();
    let saved = small(&server).await;
    let before = digest(&server.connect("shop").await).await.unwrap();
    server.psql(
        "shop",
        "INSERT INTO s.item VALUES (5000, 'after the backup')",
    );
    server.psql(
        "postgres",
        "CREATE ROLE visitor LOGIN; GRANT pg_signal_backend TO backstay_restore",
    );
    let visitor = server.connect_as("shop", "visitor").await;
    let replace = |request: &mut RestoreRequest| request.replace_existing = true;
    let found = findings(&server, &saved, "shop", replace).await;
    assert_eq!(codes(&found), [""; 0]);
    assert_eq!(found.warnings, [""; 0]);
    let steps = found.steps.join("\n");
    assert!(
        steps.contains("end the sessions in \"shop\" (1 now)"),
        "{steps}"
    );
    // An application that comes back at once, again and again.
    let url = server.url("shop", "visitor");
    let stubborn = tokio::spawn(async move {
        loop {
            if let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
                tokio::spawn(connection);
                while client.simple_query("SELECT 1").await.is_ok() {}
            }
        }
    });
    let restored = restore(&server, &saved, replace, "shop").await.unwrap();
    stubborn.abort();
    let kept = restored.published.kept.expect("the old one is kept");
    let kept = kept.last().to_owned();
    assert!(
        kept.starts_with("shop_kept_2") && kept.ends_with("_restore_12_1"),
        "{kept}"
    );
    assert!(visitor.simple_query("SELECT 1").await.is_err());
    let after = digest(&server.connect("shop").await).await.unwrap();
    assert_equal(&before, &after);
    // The kept one is whole, and takes sessions.
    assert_eq!(server.psql(&kept, "SELECT count(*) FROM s.item"), "1001");
    assert_eq!(databases(&server), format!("postgres shop {kept}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_target_is_taken() {
    let server = Server::version(15).start();
    let saved = small(&server).await;
    server.psql("postgres", "CREATE DATABASE waiting OWNER backstay_restore");
    let as_copy = |request: &mut RestoreRequest| request.as_copy = true;
    let restored = restore(&server, &saved, as_copy, "waiting").await.unwrap();
    assert!(restored.published.kept.is_some());
    assert_eq!(
        server.psql("waiting", "SELECT count(*) FROM s.item"),
        "1000"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_in_use_stays_and_the_restore_leaves_nothing() {
    let server = Server::version(17).start();
    let saved = small(&server).await;
    // A superuser's session, which the restoring role may not end.
    let session = server.connect("shop").await;
    let replace = |request: &mut RestoreRequest| request.replace_existing = true;
    let (code, blame, text) = refused(restore(&server, &saved, replace, "shop").await);
    assert_eq!((code, blame), ("target-in-use", Blame::Conflict));
    assert!(text.contains(" of postgres "), "{text}");
    assert_eq!(databases(&server), "postgres shop");
    session.simple_query("SELECT 1").await.unwrap();
    assert_eq!(server.psql("shop", "SELECT count(*) FROM s.item"), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_made_are_named_and_the_rows_are_there() {
    for version in [14, 17] {
        let server = Server::version(version).start();
        let mut saved = small(&server).await;
        // As if a damaged index had let doubles in.
        let double = saved
            .ranges
            .iter()
            .find(|(task, _)| task.rows > 0)
            .cloned()
            .unwrap();
        saved.ranges.push(double);
        let restored = restore(&server, &saved, |_| (), "copy").await.unwrap();
        let errors = restored.errors.join("\n");
        assert!(errors.contains("CONSTRAINT s item item_pkey"), "{errors}");
        assert!(errors.contains("is duplicated"), "{errors}");
        // And what needs it.
        assert!(
            errors.contains("FK CONSTRAINT s part part_item_fkey"),
            "{errors}"
        );
        assert_eq!(restored.errors.len(), 2, "{errors}");
        let count: u64 = server
            .psql("copy", "SELECT count(*) FROM s.item")
            .parse()
            .unwrap();
        assert!(count > 1000);
        assert_eq!(
            server.psql(
                "copy",
                "SELECT count(*) FROM pg_indexes WHERE indexname = 'part_n'"
            ),
            "1"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_role_stops_a_restore_but_not_a_copy() {
    let source = Server::version(17).start();
    let saved = {
        source.least_rights_role();
        source.psql("postgres", "CREATE ROLE reader");
        source.psql("postgres", "CREATE ROLE known");
        let saved = small(&source).await;
        drop(saved);
        source.psql(
            "shop",
            "GRANT USAGE ON SCHEMA s TO reader, known; GRANT SELECT ON s.item TO reader, known;
             ALTER TABLE s.part ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON s.part TO reader USING (true)",
        );
        Saved::by_hand(&source, "shop").await
    };
    let target = Server::version(17).start();
    target.least_rights_role();
    target.psql("postgres", "CREATE ROLE known");
    let found = findings(&target, &saved, "copy", |_| ()).await;
    assert_eq!(codes(&found), ["unknown-role"]);
    let said = &found.obstacles[0];
    for role in ["\"app\"", "\"reader\""] {
        assert!(said.detail.contains(role), "{said:?}");
        let making = format!("CREATE ROLE {role}");
        assert!(said.remedy.as_ref().unwrap().contains(&making), "{said:?}");
    }
    // This saveset was made by hand, without what is known of the roles.
    assert!(
        said.remedy
            .as_ref()
            .unwrap()
            .contains("GRANT \"app\" TO \"backstay_restore\""),
        "{said:?}"
    );
    assert_eq!(databases(&target), "postgres");

    let as_copy = |request: &mut RestoreRequest| request.as_copy = true;
    let found = findings(&target, &saved, "copy", as_copy).await;
    assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
    let restored = restore(&target, &saved, as_copy, "copy").await.unwrap();
    assert_eq!(restored.errors, [""; 0]);
    assert_eq!(restored.progress.skipped_objects().len(), 1);
    let owner =
        "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace = 's'::regnamespace";
    assert_eq!(target.psql("copy", owner), "backstay_restore");
    let known = "SELECT has_table_privilege('known', 's.item', 'SELECT')";
    assert_eq!(target.psql("copy", known), "t");
    assert_eq!(target.psql("copy", "SELECT count(*) FROM s.part"), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_the_role_may_not_become_is_an_obstacle_or_left_out_of_a_copy() {
    let server = Server::version(16).start();
    let saved = small(&server).await;
    server.psql("postgres", "REVOKE app FROM backstay_restore");
    let found = findings(&server, &saved, "copy", |_| ()).await;
    assert_eq!(codes(&found), ["not-a-member"]);
    // Since 16 a membership may have the rights and yet not allow to become the role.
    server.psql("postgres", "GRANT app TO backstay_restore WITH SET FALSE");
    let found = findings(&server, &saved, "copy", |_| ()).await;
    assert_eq!(codes(&found), ["not-a-member"]);
    let as_copy = |request: &mut RestoreRequest| request.as_copy = true;
    restore(&server, &saved, as_copy, "copy").await.unwrap();
    let owner = "SELECT relowner::regrole FROM pg_class WHERE oid = 's.item'::regclass";
    assert_eq!(server.psql("copy", owner), "backstay_restore");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_lacks_is_told_before_anything_moves() {
    let server = Server::version(17).start();
    let saved = small(&server).await;
    saved.change_facts(|facts| {
        facts["needs"]["extensions"] = serde_json::json!([
            {"name": "no_such_extension", "version": "1"}, {"name": "pageinspect", "version": "1"},
        ]);
        facts["needs"]["collations"] = serde_json::json!(["xx_XX"]);
        facts["needs"]["tablespaces"] = serde_json::json!(["fast"]);
        facts["lc_collate"] = "xx_XX.UTF-8".into();
    });
    server.psql("postgres", "ALTER ROLE backstay_restore NOCREATEDB");
    let found = findings(&server, &saved, "copy", |_| ()).await;
    assert_eq!(
        codes(&found),
        [
            "missing-right",
            "missing-extension",
            "extension-needs-superuser",
            "missing-collation"
        ]
    );
    let warnings = found.warnings.join("\n");
    assert!(
        warnings.contains("xx_XX.UTF-8") && warnings.contains("fast"),
        "{warnings}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_leaves_no_working_database_after_discard() {
    let server = Server::version(14).start();
    let saved = small(&server).await;
    let request = saved.request("copy", Arc::new(RecordedProgress::new()));
    let mut target = open(&server, request).await.unwrap();
    target.prepare().await.unwrap();
    assert_eq!(databases(&server), "backstay_12_1_copy postgres shop");
    let mut loader = target.loader().await.unwrap();
    let (task, _) = saved.ranges.iter().find(|(task, _)| task.rows > 0).unwrap();
    // Rows that never come to an end.
    let mut rows = Stuck;
    let stuck = loader.load(task, &mut rows);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(300), stuck).await;
    assert!(waited.is_err());
    drop(loader);
    target.discard().await.unwrap();
    assert_eq!(databases(&server), "postgres shop");
}

/// A killed process discards nothing; the next run of the same restore does, unless somebody is in
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_restore_has_left_is_dropped_by_the_next_run_unless_it_is_in_use() {
    let server = Server::version(17).start();
    let saved = small(&server).await;
    let again = |id: &str, progress: &Arc<RecordedProgress>| {
        let mut request = saved.request("copy", progress.clone());
        request.server_execution_id = id.parse().unwrap();
        request.earlier = vec!["12.1".parse().unwrap()];
        request
    };
    let progress = Arc::new(RecordedProgress::new());
    let request = saved.request("copy", progress.clone());
    let mut killed = open(&server, request).await.unwrap();
    killed.prepare().await.unwrap();
    std::mem::forget(killed);
    assert_eq!(databases(&server), "backstay_12_1_copy postgres shop");

    let somebody = server.connect("backstay_12_1_copy").await;
    let mut second = open(&server, again("13.1", &progress)).await.unwrap();
    second.prepare().await.unwrap();
    assert!(databases(&server).contains("backstay_12_1_copy"));
    assert!(
        progress
            .warnings()
            .iter()
            .any(|w| w.contains("backstay_12_1_copy"))
    );
    second.discard().await.unwrap();
    drop(somebody);
    server.psql("postgres", "SELECT pg_sleep(0.3)");

    let mut third = open(&server, again("14.1", &progress)).await.unwrap();
    third.prepare().await.unwrap();
    assert_eq!(databases(&server), "backstay_14_1_copy postgres shop");
    third.discard().await.unwrap();
}

/// Two servers of Backstay, each with an execution 12 of its own, restore into one PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_of_backstay_has_in_the_making_is_left_alone() {
    let server = Server::version(17).start();
    let saved = small(&server).await;
    let progress = Arc::new(RecordedProgress::new());
    let request = |id: &str, earlier: &[&str]| {
        let mut request = saved.request("copy", progress.clone());
        request.server_execution_id = id.parse().unwrap();
        request.earlier = earlier.iter().map(|id| id.parse().unwrap()).collect();
        request
    };
    let mut one = open_by(&server, "0f8fad5b-d9cb", request("12.1", &[])).await;
    one.prepare().await.unwrap();
    let mut other = open_by(&server, "7c9e6679-7425", request("12.1", &[])).await;
    other.prepare().await.unwrap();
    let both = "backstay_12_1_0f8fad5b_copy backstay_12_1_7c9e6679_copy postgres shop";
    assert_eq!(databases(&server), both);
    other.discard().await.unwrap();
    // Its next run takes away what its own last one has left, and nothing else.
    let mut killed = open_by(&server, "7c9e6679-7425", request("12.1", &[])).await;
    killed.prepare().await.unwrap();
    std::mem::forget(killed);
    let mut next = open_by(&server, "7c9e6679-7425", request("13.1", &["12.1"])).await;
    next.prepare().await.unwrap();
    let left = "backstay_12_1_0f8fad5b_copy backstay_13_1_7c9e6679_copy postgres shop";
    assert_eq!(databases(&server), left);
    next.discard().await.unwrap();
    one.discard().await.unwrap();
    assert_eq!(databases(&server), "postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_may_be_repeated() {
    let server = Server::version(17).start();
    let saved = small(&server).await;
    let request = saved.request("copy", Arc::new(RecordedProgress::new()));
    let mut target = open(&server, request).await.unwrap();
    target.prepare().await.unwrap();
    load(&mut *target, &saved).await.unwrap();
    target.prepare().await.unwrap();
    load(&mut *target, &saved).await.unwrap();
    assert_eq!(target.build(2).await.unwrap().errors, [""; 0]);
    target.postscript().await.unwrap();
    assert_eq!(target.postscript().await.unwrap().errors, [""; 0]);
    target.publish().await.unwrap();
    let before = digest(&server.connect("shop").await).await.unwrap();
    let after = digest(&server.connect("copy").await).await.unwrap();
    assert_equal(&before, &after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_name_that_somebody_else_has_is_not_dropped() {
    let server = Server::version(17).start();
    let saved = small(&server).await;
    server.psql(
        "postgres",
        "CREATE DATABASE backstay_12_1_copy OWNER backstay_restore",
    );
    let (code, blame, _) = refused(restore(&server, &saved, |_| (), "copy").await);
    assert_eq!((code, blame), ("working-database-exists", Blame::Conflict));
    assert_eq!(databases(&server), "backstay_12_1_copy postgres shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_at_once_and_without_the_password() {
    let server = Server::version(17).tcp().start();
    let saved = small(&server).await;
    let mut wrong = credentials(&server.least_rights_role());
    wrong.password = SecretString::from("not this one");
    let request = saved.request("copy", Arc::new(RecordedProgress::new()));
    let opened = engine(&server)
        .open_target(&site(&server), Some(&wrong), request)
        .await;
    let error = opened.err().expect("it must be refused");
    assert_eq!(
        (error.code(), error.blame()),
        ("database-credentials", Blame::Access)
    );
    assert!(!error.sentence().contains("not this one"));
    assert!(error.hint().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_that_the_sites_url_names_is_replaced_too() {
    let server = Server::version(18).start();
    let saved = small(&server).await;
    let roles = server.least_rights_role();
    let site = Connection::Postgresql {
        url: server.url("shop", roles.backup),
        password: None,
    };
    let mut request = saved.request("shop", Arc::new(RecordedProgress::new()));
    request.replace_existing = true;
    let credentials = credentials(&roles);
    let engine = engine(&server);
    let target = engine.open_target(&site, Some(&credentials), request);
    let mut target = target.await.unwrap();
    target.prepare().await.unwrap();
    load(&mut *target, &saved).await.unwrap();
    target.build(1).await.unwrap();
    target.postscript().await.unwrap();
    let published = target.publish().await.unwrap();
    let kept = published.kept.expect("the old one is kept");
    assert_eq!(
        server.psql(kept.last(), "SELECT count(*) FROM s.part"),
        "1000"
    );
    assert_eq!(server.psql("shop", "SELECT count(*) FROM s.part"), "1000");
}
