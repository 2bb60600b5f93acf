//! Servers that are set back, crash, lose summaries, or have their databases made anew.

use std::path::Path;
use std::process::Command;

use engine_postgres::Rule;
use model::{Beat, ChangedBlocksSource, Engine};
use rstest::rstest;
use testkit::postgres::Server;

use super::saved::{Shop, needs, save, summarizing};
use crate::reading::{connection, engine};
use crate::standby::standby_of;

fn copied(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("--archive")
        .arg(from)
        .arg(to)
        .status();
    assert!(copied.unwrap().success());
}

impl Shop {
    /// A copy of the volume, to be put back later.
    fn volume(&self) -> tempfile::TempDir {
        let kept = tempfile::tempdir().unwrap();
        self.server.stop();
        copied(&self.server.data_dir(), &kept.path().join("data"));
        self.server.restart();
        kept
    }

    fn set_back(&self, volume: &tempfile::TempDir) {
        self.server.stop();
        std::fs::remove_dir_all(self.server.data_dir()).unwrap();
        copied(&volume.path().join("data"), &self.server.data_dir());
        self.server.restart();
    }

    /// A backend dies and takes all others with it; the postmaster goes on, and what was not yet written
    /// of the WAL is gone.
    pub async fn crash_without_restart(&self) {
        let victim = self.server.connect(self.database).await;
        let pid = victim.query_one("SELECT pg_backend_pid()", &[]).await;
        let pid: i32 = pid.unwrap().get(0);
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.unwrap().success());
        for _ in 0..500 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let recovered = self.server.log().contains("terminated by signal 9");
            if recovered && self.server.try_psql(self.database, "SELECT 1").is_ok() {
                return;
            }
        }
        panic!("the server did not recover:\n{}", self.server.log());
    }

    async fn beat(&self) -> Beat {
        let site = connection(&self.server, self.reading().user);
        engine(&self.server).beat(&site).await.unwrap().unwrap()
    }

    /// So much WAL that writes no block and has no transaction.
    fn fill(&self, bytes: u32) {
        self.sql(&format!(
            "SELECT pg_logical_emit_message(false, 'filler', repeat('x', {bytes}))"
        ));
    }
}

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn a_base_on_wal_that_was_set_back_counts_for_nothing(#[case] version: u32) {
    needs(Rule::SameHistory, &[], async || {
        let shop = Shop::open(version);
        shop.ten_a_block("t", 20);
        let volume = shop.volume();
        shop.fill(500_000);
        shop.sql("UPDATE t SET v = 1 WHERE i = 55");
        let full = shop.full().await;
        shop.set_back(&volume);
        // The same is done again, but for other rows, and the WAL goes on beyond the base's.
        shop.sql("UPDATE t SET v = 1 WHERE i = 155");
        shop.fill(2_000_000);
        shop.summarize();
        let delta = shop.delta(&full).await;
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_ahead_of_the_wal_counts_for_nothing_and_says_why() {
    let shop = Shop::open(17);
    shop.ten_a_block("t", 20);
    let volume = shop.volume();
    shop.fill(500_000);
    let full = shop.full().await;
    shop.set_back(&volume);
    shop.sql("UPDATE t SET v = 1 WHERE i = 155");
    let delta = shop.delta(&full).await;
    assert!(delta.why().contains("set back"), "{}", delta.why());
    assert!(shop.is_as(&delta, "t", "i, v, t"));
    let next = shop.delta(&delta).await;
    assert_eq!(next.source(), Some(ChangedBlocksSource::WalSummary));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_of_another_server_or_timeline_counts_for_nothing() {
    let server = Server::version(17).durable().fresh();
    let other = Shop::on(server.setting("summarize_wal", "on").start());
    other.ten_a_block("t", 20);
    let foreign = other.full().await;
    let shop = Shop::open(17);
    shop.ten_a_block("t", 20);
    let full = shop.full().await;
    let standby = standby_of(&shop.server);
    standby.psql("postgres", "SELECT pg_promote()");
    standby.set("fsync", "on");
    standby.set("summarize_wal", "on");
    standby.restart();
    let promoted = Shop {
        server: standby,
        database: "shop",
    };
    promoted.sql("UPDATE t SET v = 1 WHERE i = 155");
    let delta = promoted.delta(&full).await;
    assert!(delta.why().contains("timeline"), "{}", delta.why());
    assert!(promoted.is_as(&delta, "t", "i, v, t"));
    // Its database has another number, or its server has: whichever is seen first.
    let delta = shop.delta(&foreign).await;
    assert_eq!(delta.source(), Some(ChangedBlocksSource::Hash));
    assert!(shop.is_as(&delta, "t", "i, v, t"));
}

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn a_beat_of_a_history_that_was_given_up_does_not_count(#[case] version: u32) {
    needs(Rule::SealedBeats, &[], async || {
        let shop = Shop::open(version);
        shop.ten_a_block("t", 20);
        let volume = shop.volume();
        shop.fill(1_000_000);
        let beat = shop.beat().await;
        shop.set_back(&volume);
        let writer = shop.open_update().await;
        shop.summarize();
        shop.fill(2_000_000);
        shop.summarize();
        let mut reading = shop.reading();
        reading.beats = vec![beat];
        let full = save(&reading, None).await;
        writer.batch_execute("COMMIT").await.unwrap();
        let delta = shop.delta(&full).await;
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_beat_is_not_given_out_again_after_a_crash(#[case] version: u32) {
    needs(Rule::DurableBeats, &[], async || {
        let shop = Shop::open(version);
        shop.ten_a_block("t", 20);
        shop.fill(200_000);
        let beat = shop.beat().await;
        shop.crash_without_restart().await;
        let writer = shop.open_update().await;
        shop.summarize();
        shop.fill(500_000);
        shop.summarize();
        let mut reading = shop.reading();
        reading.beats = vec![beat];
        let full = save(&reading, None).await;
        writer.batch_execute("COMMIT").await.unwrap();
        let delta = shop.delta(&full).await;
        assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_is_gone_makes_the_window_unreadable(#[case] version: u32) {
    needs(Rule::NoGaps, &[], async || {
        let shop = Shop::open(version);
        shop.ten_a_block("t", 20);
        let full = shop.full().await;
        shop.sql("UPDATE t SET v = 1 WHERE i = 55");
        shop.summarize();
        let summaries = shop.server.data_dir().join("pg_wal/summaries");
        let files = std::fs::read_dir(summaries).unwrap();
        let last = files.map(|file| file.unwrap().path()).max().unwrap();
        std::fs::remove_file(last).unwrap();
        let delta = shop.delta(&full).await;
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn without_fsync_all_blocks_are_compared(#[case] version: u32) {
    // What a crash of the machine does cannot be shown here: but that the summaries are not trusted.
    needs(Rule::Fsync, &[], async || {
        let shop = Shop::on(summarizing(version).setting("fsync", "off").start());
        shop.ten_a_block("t", 20);
        let full = shop.full().await;
        shop.sql("UPDATE t SET v = 1 WHERE i = 55");
        let delta = shop.delta(&full).await;
        assert!(shop.is_as(&delta, "t", "i, v, t"));
        delta.source() == Some(ChangedBlocksSource::Hash) && delta.why().contains("fsync is off")
    })
    .await;
}

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_took_the_name_of_the_bases_is_another(#[case] version: u32) {
    needs(Rule::SameDatabase, &[], async || {
        let shop = Shop::open(version);
        shop.ten_a_block("t", 20);
        shop.server
            .psql("postgres", "CREATE DATABASE other TEMPLATE shop");
        shop.server
            .psql("other", "UPDATE t SET v = 1 WHERE i = 55; CHECKPOINT");
        shop.summarize();
        let full = shop.full().await;
        shop.server.psql(
            "postgres",
            "ALTER DATABASE shop RENAME TO was; ALTER DATABASE other RENAME TO shop",
        );
        let delta = shop.delta(&full).await;
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_made_anew_with_its_old_number_is_compared(#[case] version: u32) {
    needs(Rule::DatabaseRemade, &[], async || {
        let shop = Shop::open(version);
        shop.ten_a_block("t", 20);
        shop.server
            .psql("postgres", "CREATE DATABASE other TEMPLATE shop");
        shop.server
            .psql("other", "UPDATE t SET v = 1 WHERE i = 55; CHECKPOINT");
        shop.summarize();
        let full = shop.full().await;
        let number = shop.sql("SELECT oid FROM pg_database WHERE datname = 'shop'");
        shop.server.psql("postgres", "DROP DATABASE shop");
        shop.server.psql(
            "postgres",
            &format!("CREATE DATABASE shop TEMPLATE other STRATEGY file_copy OID {number}"),
        );
        let delta = shop.delta(&full).await;
        assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_not_waited_for_and_its_rows_are_read_later() {
    let shop = Shop::open(17);
    shop.ten_a_block("t", 20);
    let base = shop.full().await;
    shop.sql("BEGIN; UPDATE t SET v = 1 WHERE i = 55; PREPARE TRANSACTION 'p'");
    shop.summarize();
    let mut reading = shop.reading();
    reading.transaction_patience = Some(std::time::Duration::from_secs(60));
    let begun = std::time::Instant::now();
    let open = save(&reading, Some(&base)).await;
    assert!(begun.elapsed().as_secs() < 20, "it was waited for");
    assert!(shop.is_as(&open, "t", "i, v, t"));
    shop.sql("COMMIT PREPARED 'p'");
    let delta = shop.delta(&open).await;
    assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
    assert!(delta.changed("t").contains(&5));
    assert!(shop.is_as(&delta, "t", "i, v, t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_asynchronous_commit_showed_the_base_is_there_after_a_crash() {
    let shop = Shop::open(17);
    shop.ten_a_block("t", 20);
    shop.sql("SET synchronous_commit = off; UPDATE t SET v = 1 WHERE i = 55");
    let full = shop.full().await;
    shop.server.crash();
    shop.server.restart();
    assert!(shop.is_as(&full, "t", "i, v, t"));
    shop.sql("UPDATE t SET v = 2 WHERE i = 155");
    let delta = shop.delta(&full).await;
    assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
    assert!(shop.is_as(&delta, "t", "i, v, t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_wal_is_not_summarized_all_blocks_are_compared_and_the_reason_is_told() {
    let shop = Shop::on(Server::version(17).durable().start());
    shop.ten_a_block("t", 20);
    let full = shop.full().await;
    shop.sql("UPDATE t SET v = 1 WHERE i = 55");
    let delta = shop.delta(&full).await;
    assert!(
        delta.why().contains("summarize_wal is off"),
        "{}",
        delta.why()
    );
    assert!(shop.is_as(&delta, "t", "i, v, t"));
    shop.sql("ALTER SYSTEM SET summarize_wal = on");
    shop.sql("SELECT pg_reload_conf()");
    std::thread::sleep(std::time::Duration::from_millis(500));
    shop.sql("UPDATE t SET v = 1 WHERE i = 56");
    let compared = shop.delta(&delta).await;
    assert!(
        compared.why().contains("when the base was taken"),
        "{}",
        compared.why()
    );
    shop.sql("UPDATE t SET v = 1 WHERE i = 57");
    let next = shop.delta(&compared).await;
    assert_eq!(next.source(), Some(ChangedBlocksSource::WalSummary));
    assert!(shop.is_as(&next, "t", "i, v, t"));
    let old = Shop::on(Server::version(16).start());
    old.ten_a_block("t", 20);
    let full = old.full().await;
    old.sql("UPDATE t SET v = 1 WHERE i = 55");
    let delta = old.delta(&full).await;
    assert!(delta.why().contains("PostgreSQL 16"), "{}", delta.why());
    assert!(old.is_as(&delta, "t", "i, v, t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_compared_with_a_base_of_its_own() {
    let shop = Shop::open(17);
    shop.ten_a_block("t", 20);
    let standby = Shop {
        server: standby_of(&shop.server),
        database: "shop",
    };
    let site = connection(&standby.server, standby.reading().user);
    let beat = engine(&standby.server).beat(&site).await.unwrap();
    assert_eq!(beat, None);
    let full = standby.full().await;
    shop.sql("UPDATE t SET v = 1 WHERE i = 55");
    let here = shop.sql("SELECT pg_current_wal_flush_lsn()");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{here}'");
    while standby.sql(&replayed) != "t" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let delta = standby.delta(&full).await;
    assert!(delta.why().contains("standby"), "{}", delta.why());
    assert!(standby.is_as(&delta, "t", "i, v, t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_checkpoint_waits_for_the_servers_own() {
    let shop = Shop::on(summarizing(17).setting("checkpoint_timeout", "30s").start());
    shop.ten_a_block("t", 20);
    shop.sql("REVOKE pg_checkpoint FROM backstay");
    let full = shop.full().await;
    // The full one did not wait for a checkpoint, so that nothing is known.
    let delta = shop.delta(&full).await;
    assert_eq!(delta.source(), Some(ChangedBlocksSource::Hash));
    assert!(delta.why().contains("CHECKPOINT"), "{}", delta.why());
    assert!(shop.is_as(&delta, "t", "i, v, t"));
}
