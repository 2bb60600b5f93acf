//! Backups that build on an earlier saveset: what changed is read, and every saveset is whole.

use std::sync::Arc;

use model::{ChangedBlocksSource, Fault as _, Phase, RunType};
use testkit::memory_engine::{Knows, MemoryDatabase, Stage};
use testkit::{Operation, RecordedProgress};
use tokio_util::sync::CancellationToken;
use vault::Saveset;

use crate::rig::{Rig, failed, rows, whole};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_are_compared_are_read_and_stored_only_where_they_differ() {
    let mut rig = Rig::with_a_shop().await;
    rig.engine.knows("item", Knows::Nothing);
    rig.engine.knows("customer", Knows::TooMuch(5));
    let full = backed_up(&rig, "7.1", None).await.unwrap();
    rig.engine.change("shop", |shop| {
        shop.write("item", 3, new_rows(1, 5));
        // What it had.
        let rows = rows(300, 1_000).skip(7 * 7).take(7).collect();
        shop.write("customer", 7, rows);
    });
    rig.progress = Arc::new(RecordedProgress::new());
    let delta = backed_up(&rig, "9.1", Some(&full.saveset)).await.unwrap();
    let of = |saveset: &Saveset, name: &str| {
        let mut tables = saveset.databases()[0].tables.iter();
        tables
            .find(|table| table.plan.name.last() == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        of(&delta.saveset, "customer").sheet,
        of(&full.saveset, "customer").sheet
    );
    // All of the items, ten blocks of customers, and the parts of the dictionary.
    let item = 2_000 * 104 - 20 * 104 + 5 * 104;
    let customer = 10 * 7 * 1_004;
    let parts = delta.saveset.databases()[0]
        .dictionary
        .iter()
        .map(|part| part.plain_bytes);
    assert_eq!(delta.bytes_read, item + customer + parts.sum::<u64>());
    assert_eq!(rig.progress.bytes_moved(Phase::Data), item + customer);
    assert!(delta.bytes_stored < 4_000, "{}", delta.bytes_stored);
    assert_eq!(
        delta.changed_blocks_source(),
        Some(ChangedBlocksSource::Hash)
    );
    let why = delta.changed_blocks[0].1.why.clone();
    assert_eq!(why.as_deref(), Some("a test said so"));
    is_restored(&rig, &delta.saveset, "copy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dictionary_that_changed_is_stored_and_its_other_parts_are_referred_to_again() {
    let rig = Rig::with_a_shop().await;
    let full = backed_up(&rig, "7.1", None).await.unwrap();
    for (number, ddl) in ["longer than it was before, by far", "short", "SHORT"]
        .into_iter()
        .enumerate()
    {
        rig.engine.change("shop", |shop| shop.set_ddl(ddl));
        let execution = format!("{}.1", 8 + number);
        let delta = backed_up(&rig, &execution, Some(&full.saveset))
            .await
            .unwrap();
        let parts = |saveset: &Saveset| saveset.databases()[0].dictionary.clone();
        assert_ne!(parts(&delta.saveset)[0], parts(&full.saveset)[0]);
        assert_eq!(parts(&delta.saveset)[1], parts(&full.saveset)[1]);
        is_restored(&rig, &delta.saveset, &format!("copy{number}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_whole_is_told_with_its_reason_in_few_notes() {
    let rig = Rig::with_a_shop().await;
    for table in ["item", "customer", "note", "tiny"] {
        rig.engine.knows(table, Knows::NoBase);
    }
    let full = backed_up(&rig, "7.1", None).await.unwrap();
    assert_eq!(rig.progress.notes(), Vec::<String>::new());
    rig.engine.change("shop", |shop| shop.rewrite("nothing"));
    let delta = backed_up(&rig, "9.1", Some(&full.saveset)).await.unwrap();
    assert_eq!(
        rig.progress.notes(),
        [
            "4 of 5 tables were read whole, because it was told so: shop.customer, shop.item, \
             shop.note, …",
            "1 of 5 tables were read whole, because the base has another table: shop.nothing",
        ]
    );
    is_restored(&rig, &delta.saveset, "copy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_the_base_does_not_have_is_read_whole() {
    let rig = Rig::with_a_shop().await;
    let full = backed_up(&rig, "7.1", None).await.unwrap();
    let crm = MemoryDatabase::new().table("person", rows(500, 20), 10);
    rig.engine.put_database("crm", crm);
    let mut input = rig.backup_input("9.1");
    input.databases.push(whole("crm"));
    input.base = Some(full.saveset.clone());
    input.run_type = RunType::Delta;
    let run = flow::backup(input, |_| async { Ok(()) }, CancellationToken::new());
    let delta = run.await.unwrap();
    let found: Vec<String> = delta
        .changed_blocks
        .iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(found, ["shop"]);
    let why = "1 of 6 tables were read whole, because the base does not have the database: crm";
    assert_eq!(rig.progress.notes(), [why]);
    is_restored(&rig, &delta.saveset, "copy").await;
    let mut input = rig.restore_input(&delta.saveset, "people");
    input.databases[0].selection = whole("crm");
    flow::restore(input, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(rig.engine.contents("people"), rig.engine.contents("crm"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_needs_a_base_of_its_own_vault_and_a_full_backup_takes_none() {
    let (rig, other) = (Rig::with_a_shop().await, Rig::with_a_shop().await);
    let ours = backed_up(&rig, "7.1", None).await.unwrap().saveset;
    let theirs = backed_up(&other, "7.1", None).await.unwrap().saveset;
    rig.engine.heal();
    let before = rig.engine.count(Stage::OpenSource);
    for (base, run_type) in [
        (None, RunType::Delta),
        (Some(theirs), RunType::Delta),
        (Some(ours), RunType::Full),
    ] {
        let mut input = rig.backup_input("9.1");
        input.base = base;
        input.run_type = run_type;
        let run = flow::backup(input, |_| async { Ok(()) }, CancellationToken::new());
        assert_eq!(failed(run.await).code(), "internal");
    }
    assert_eq!(rig.engine.count(Stage::OpenSource), before);
}
