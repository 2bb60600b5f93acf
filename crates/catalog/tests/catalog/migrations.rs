use std::path::{Path, PathBuf};

use model::{Fault, SecretString};
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;

use crate::world::{World, open, shop};

async fn outside(file: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    SqlitePool::connect_with(options).await.unwrap()
}

fn copies(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.to_string_lossy().contains(".before-"))
        .collect()
}

/// A catalog as the program of schema 1 left it.
async fn older_catalog(data: &Path) {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let first = tempfile::tempdir().unwrap();
    std::fs::copy(
        migrations.join("0001_sites.sql"),
        first.path().join("0001_sites.sql"),
    )
    .unwrap();
    std::fs::create_dir(data).unwrap();
    let pool = outside(&data.join("catalog.db")).await;
    Migrator::new(first.path())
        .await
        .unwrap()
        .run(&pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO setting (name, value) VALUES ('node_id', 'the-old-one')")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

#[tokio::test]
async fn an_older_catalog_is_copied_and_then_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let data = crate::world::data_in(&directory);
    older_catalog(&data).await;
    let clock = std::sync::Arc::new(testkit::HandClock::at_time("2026-01-31T02:00:00Z"));
    let catalog = open(&data, &clock).await.unwrap();
    assert_eq!(catalog.node_id(), "the-old-one", "what was there stays");
    assert!(
        catalog.all_jobs().await.unwrap().is_empty(),
        "the new tables are there"
    );

    assert_eq!(copies(&data), [data.join("catalog.db.before-4")]);
    let copy = outside(&copies(&data)[0]).await;
    let version: i64 = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&copy)
        .await
        .unwrap();
    assert_eq!(version, 1, "the copy is from before");
    let kept: String = sqlx::query_scalar("SELECT value FROM setting WHERE name = 'node_id'")
        .fetch_one(&copy)
        .await
        .unwrap();
    assert_eq!(kept, "the-old-one");
}

#[tokio::test]
async fn a_copy_that_was_cut_short_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let data = crate::world::data_in(&directory);
    older_catalog(&data).await;
    std::fs::write(data.join("catalog.db.before-4.unfinished"), "half a copy").unwrap();
    let clock = std::sync::Arc::new(testkit::HandClock::at_time("2026-01-31T02:00:00Z"));
    open(&data, &clock).await.unwrap();
    assert_eq!(copies(&data), [data.join("catalog.db.before-4")]);
}

#[tokio::test]
async fn a_new_catalog_and_one_that_is_up_to_date_are_not_copied() {
    let world = World::with_site().await.reopened().await;
    assert!(copies(&world.data()).is_empty());
}

#[tokio::test]
async fn a_newer_catalog_is_refused_with_both_versions_and_left_alone() {
    let world = World::with_site().await;
    let data = world.data();
    world.catalog.close().await;
    let pool = outside(&data.join("catalog.db")).await;
    for statement in [
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (999, 'of later days', TRUE, x'00', 0)",
        "UPDATE setting SET value = '7.8.9' WHERE name = 'written_by'",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let before = std::fs::read(data.join("catalog.db")).unwrap();
    let error = open(&data, &world.clock).await.unwrap_err();
    assert_eq!(error.code(), "catalog-newer");
    let text = error.to_string();
    for part in ["7.8.9", "999", env!("CARGO_PKG_VERSION"), "4 and older"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(std::fs::read(data.join("catalog.db")).unwrap(), before);
    assert!(copies(&data).is_empty());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_damage_and_stays() {
    let world = World::new().await;
    let data = world.data();
    world.catalog.close().await;
    let junk = vec![b'x'; 8192];
    std::fs::write(data.join("catalog.db"), &junk).unwrap();
    let error = open(&data, &world.clock).await.unwrap_err();
    assert_eq!(error.code(), "catalog-damaged");
    assert_eq!(std::fs::read(data.join("catalog.db")).unwrap(), junk);
}

#[tokio::test]
async fn the_database_syncs_every_commit_and_holds_its_references() {
    let world = World::with_site().await;
    let error = world
        .catalog
        .create_job(
            &crate::world::site_id("nowhere"),
            &crate::world::job_of("x"),
        )
        .await
        .unwrap_err();
    assert_eq!(error.code(), "no-site");
    let pool = outside(&world.data().join("catalog.db")).await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(mode, "wal");
    let orphan = sqlx::query("INSERT INTO site_secret VALUES ('nowhere', 'a', 'b')");
    assert!(
        orphan.execute(&pool).await.is_err(),
        "the schema itself refuses an orphan"
    );
    let live = "INSERT INTO execution (execution_id, site_id, job_id, job_name, job_type,
         backup_mechanism, site_type, priority, status, status_detail, queued_at, order_time)
         VALUES (1, 'shop', 1, 'x', 'BACKUP', 'DSA', 'SQLITE', 5, 'DANCING', '', 0, 0)";
    let job = world.add_job("nightly").await;
    assert_eq!(job.get(), 1);
    assert!(
        sqlx::query(live).execute(&pool).await.is_err(),
        "and an unknown status"
    );
    world
        .catalog
        .first_token(Some(&SecretString::from("t")))
        .await
        .unwrap();
    world.catalog.site(&shop()).await.unwrap();
}
