//! Backups that build on an earlier saveset: what changed is read, and every saveset is whole.

use model::{ChangedBlocksSource, RunType};
use testkit::Operation;
use testkit::memory_engine::Stage;
use tokio_util::sync::CancellationToken;
use vault::Saveset;

use crate::rig::{Rig, rows};

/// A backup by that execution, on a base or without.
pub async fn backed_up(
    rig: &Rig,
    execution: &str,
    base: Option<&Saveset>,
) -> Result<flow::BackupOutcome, flow::FlowError> {
    let mut input = rig.backup_input(execution);
    input.base = base.cloned();
    input.run_type = match base {
        Some(_) => RunType::Delta,
        None => RunType::Full,
    };
    flow::backup(input, |_| async { Ok(()) }, CancellationToken::new()).await
}

/// What a saveset restores to is what the database holds now.
pub async fn is_restored(rig: &Rig, saveset: &Saveset, name: &str) {
    rig.restore(saveset, name).await.unwrap();
    assert_eq!(rig.engine.contents(name), rig.engine.contents("shop"));
}

/// New rows for a block.
fn new_rows(seed: u32, count: u32) -> Vec<Vec<u8>> {
    rows(count, 100)
        .map(|mut row| {
            row[..4].copy_from_slice(&seed.to_le_bytes());
            row
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_reads_and_stores_what_changed_and_restores_as_a_full_one() {
    let rig = Rig::with_a_shop().await;
    let full = backed_up(&rig, "7.1", None).await.unwrap();
    rig.engine.change("shop", |shop| {
        shop.write("item", 3, new_rows(1, 5));
        shop.write("item", 50, Vec::new());
        shop.write("customer", 7, new_rows(2, 1));
    });
    let read = rig.engine.count(Stage::Segment);
    let delta = backed_up(&rig, "9.1", Some(&full.saveset)).await.unwrap();
    assert_eq!(rig.engine.count(Stage::Segment) - read, 2);
    assert_eq!(delta.rows, full.rows - 20 + 5 - 20 - 7 + 1);
    assert!(delta.bytes_read < 2_000, "{}", delta.bytes_read);
    assert!(delta.bytes_stored < 6_000, "{}", delta.bytes_stored);
    assert_eq!(
        delta.changed_blocks_source(),
        Some(ChangedBlocksSource::WalSummary)
    );
    let manifest = delta.saveset.manifest();
    assert_eq!(manifest.contents.run_type, RunType::Delta);
    assert_eq!(manifest.contents.base, Some(full.saveset.id()));
    is_restored(&rig, &delta.saveset, "copy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_of_nothing_reads_no_segment_and_stores_its_manifest_only() {
    let rig = Rig::with_a_shop().await;
    let full = backed_up(&rig, "7.1", None).await.unwrap();
    let (segments, readers) = (
        rig.engine.count(Stage::Segment),
        rig.engine.count(Stage::Reader),
    );
    rig.store.forget_calls();
    let delta = backed_up(&rig, "9.1", Some(&full.saveset)).await.unwrap();
    assert_eq!(rig.engine.count(Stage::Segment), segments);
    assert_eq!(rig.engine.count(Stage::Reader), readers);
    assert_eq!(delta.bytes_stored, 0);
    assert_eq!(rig.calls_to(Operation::Put, "packs/"), 0);
    assert_eq!(rig.calls_to(Operation::Get, "packs/"), 0);
    assert!(rig.store.calls().len() <= 12, "{:?}", rig.store.calls());
    let sheets = |saveset: &Saveset| {
        let tables = saveset.databases()[0].tables.iter();
        tables.map(|table| table.sheet.clone()).collect::<Vec<_>>()
    };
    assert_eq!(sheets(&delta.saveset), sheets(&full.saveset));
    let parts = |saveset: &Saveset| saveset.databases()[0].dictionary.clone();
    assert_eq!(parts(&delta.saveset), parts(&full.saveset));
    is_restored(&rig, &delta.saveset, "copy").await;
}
