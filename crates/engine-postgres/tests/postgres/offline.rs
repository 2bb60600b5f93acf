//! Offline: nobody writes to what is read, from before the snapshot until the last row is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::{Blame, Retry};
use testkit::postgres::Server;

use crate::reading::{Reading, begin};
use crate::standby::standby_of;

fn shop(version: u32) -> Arc<Server> {
    let server = Server::version(version).start();
    server.least_rights_role();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE t AS SELECT i, repeat('x', 200) AS x FROM generate_series(1, 20000) i;
         CREATE TABLE u AS SELECT i FROM generate_series(1, 1000) i;
         SELECT lo_from_bytea(4711, 'large')",
    );
    Arc::new(server)
}

/// With what it takes to lock writers out, and no right to write.
fn maintained() -> Arc<Server> {
    let server = shop(17);
    server.psql("postgres", "GRANT pg_maintain TO backstay");
    server
}

fn offline<'a>(server: &'a Server) -> Reading<'a> {
    let mut reading = Reading::new(server, "shop");
    reading.online = false;
    reading
}

fn in_background(server: &Arc<Server>, sql: &'static str) -> std::thread::JoinHandle<Duration> {
    let server = server.clone();
    std::thread::spawn(move || {
        let begun = Instant::now();
        server.psql("shop", sql);
        begun.elapsed()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_wait_until_the_last_row_is_read_and_readers_do_not() {
    let server = maintained();
    let mut reading = offline(&server);
    // Writers who wait are no reason to give way.
    reading.yield_to_ddl = Some(Duration::from_secs(1));
    let mut source = reading.open().await.unwrap();
    let writer = in_background(&server, "INSERT INTO t VALUES (0, 'late')");
    let other = in_background(&server, "DELETE FROM u");
    let large = in_background(&server, "SELECT lo_put(4711, 0, 'small')");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for thread in [&writer, &other, &large] {
        assert!(!thread.is_finished(), "it wrote");
    }
    assert_eq!(server.psql("shop", "SELECT count(*) FROM t, u"), "20000000");
    let mut backup = begin(source.as_mut()).await.unwrap();
    backup.read_rows(source.as_mut(), 2).await.unwrap();
    assert!(!writer.is_finished() && !other.is_finished());
    backup.end(source).await.unwrap();
    for thread in [writer, other, large] {
        assert!(thread.join().unwrap() > Duration::from_secs(2));
    }
    assert_eq!(backup.count_of("public.t"), 20_000);
    assert_eq!(backup.count_of("public.u"), 1000);
    assert_eq!(server.psql("shop", "SELECT count(*) FROM t"), "20001");
    assert_eq!(reading.progress.warnings(), [""; 0]);
    let notes = reading.progress.notes();
    let told = notes.iter().filter(|note| note.contains("writers wait"));
    assert_eq!(told.count(), 1, "{notes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wrote_first_is_waited_for_and_named_when_he_does_not_end() {
    let server = maintained();
    let client = server.connect("shop").await;
    let write = "BEGIN; SET application_name = 'the writer'; UPDATE u SET i = 0 WHERE i = 1";
    client.batch_execute(write).await.unwrap();
    let mut reading = offline(&server);
    reading.lock_patience = Some(Duration::from_secs(2));
    let begun = Instant::now();
    let error = reading.open().await.err().expect("u is written to");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(
        (error.code(), error.blame(), error.retry()),
        ("lock-not-available", Blame::Busy, Retry::Later)
    );
    let said = error.to_string();
    for part in [
        "public.u",
        "ROW EXCLUSIVE",
        "the writer",
        "UPDATE u SET i = 0",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // All is given back: others may write.
    server.psql(
        "shop",
        "SET lock_timeout = '100ms'; DELETE FROM t WHERE i = 1",
    );

    let release = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (backup, ()) = tokio::join!(reading.read(), release);
    let backup = backup.unwrap();
    assert_eq!(backup.count_of("public.u"), 1000);
    assert_eq!(backup.count_of("public.t"), 19_999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_to_lock_is_told_with_the_grant_or_skipped() {
    for (version, right) in [(14, "UPDATE"), (17, "MAINTAIN")] {
        let server = shop(version);
        let mut reading = offline(&server);
        let error = reading.read().await.err().expect("it may not lock");
        assert_eq!(
            (error.code(), error.blame()),
            ("insufficient-privilege", Blame::Access)
        );
        let grant = |table: &str| format!("GRANT {right} ON public.{table} TO \"backstay\"");
        let said = error.to_string();
        assert!(
            said.contains(&grant("t")) && said.contains(&grant("u")),
            "{said}"
        );
        assert!(!said.contains("GRANT SELECT"), "{said}");
        server.psql("shop", &grant("t"));

        reading.skip_without_rights = true;
        let backup = reading.read().await.unwrap();
        assert_eq!(backup.count_of("public.t"), 20_000);
        assert!(!backup.plan.tables.iter().any(|t| t.name.last() == "u"));
        let skipped = reading.progress.skipped_objects();
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        assert_eq!(skipped[0].object, "public.u");
        let reason = &skipped[0].reason;
        assert!(
            reason.contains("may not lock it against writers") && reason.contains(&grant("u")),
            "{reason}"
        );

        server.psql("shop", &grant("u"));
        reading.skip_without_rights = false;
        let backup = reading.read().await.unwrap();
        assert_eq!(backup.count_of("public.u"), 1000);
        // What has no lock of its own is said.
        let notes = reading.progress.notes();
        let told = notes
            .iter()
            .any(|note| note.contains("large objects were not locked"));
        assert!(told, "{notes:?}");
        // And online it takes no such right.
        let online = Reading::new(&server, "shop");
        server.psql("shop", &format!("REVOKE {right} ON t, u FROM backstay"));
        online.read().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_backup_of_a_standby_is_refused_in_words() {
    let server = maintained();
    let standby = standby_of(&server);
    let error = offline(&standby).open().await.err().expect("it cannot");
    assert_eq!(
        (error.code(), error.retry()),
        ("offline-on-standby", Retry::Never)
    );
    assert!(error.to_string().contains("a standby cannot do"), "{error}");
    assert!(error.hint().unwrap().contains("the primary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_that_waits_still_counts() {
    let server = maintained();
    let mut reading = offline(&server);
    reading.yield_to_ddl = Some(Duration::from_secs(2));
    let mut source = reading.open().await.unwrap();
    let alter = in_background(&server, "ALTER TABLE t ADD COLUMN y int");
    let mut backup = begin(source.as_mut()).await.unwrap();
    assert!(alter.join().unwrap() < Duration::from_secs(4));
    let error = backup.read_rows(source.as_mut(), 2).await.unwrap_err();
    assert_eq!(error.code(), "gave-way-to-ddl");
    let error = backup.end(source).await.unwrap_err();
    assert_eq!(error.code(), "gave-way-to-ddl");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_application_is_locked_out_without_a_deadlock() {
    let server = Arc::new(Server::version(17).start());
    server.least_rights_role();
    server.psql("postgres", "CREATE DATABASE shop; ");
    server.psql("postgres", "GRANT pg_maintain TO backstay");
    server.pgbench("shop", &["-i", "-s", "2", "-q"]);
    let stop = Arc::new(AtomicBool::new(false));
    let application = std::thread::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                server.pgbench("shop", &["-n", "-c", "4", "-T", "1"]);
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let mut reading = offline(&server);
        // On a slow machine a transaction of the application takes as long as a lock is waited for.
        reading.lock_patience = Some(Duration::from_secs(180));
        outcomes.push(reading.read().await);
    }
    stop.store(true, Ordering::Relaxed);
    application.join().expect("pgbench met no error");
    for outcome in outcomes {
        let backup = outcome.unwrap();
        assert_eq!(backup.count_of("public.pgbench_accounts"), 200_000);
    }
    assert!(!server.log().contains("deadlock detected"));
}
