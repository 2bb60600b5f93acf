//! Packs that hold little, or are small, are rewritten after the sweeps; nobody who reads notices.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fail::FailScenario;
use model::{ExecutionId, ExecutionStatus, JobId, SavesetId};
use tempfile::TempDir;
use vault::Depth;

use crate::node::{Node, nightly, shop, site, vault_of};

/// So many copies are kept: each has a pack at least, and sixteen small ones are merged.
const KEPT: usize = 16;

/// All places where a compaction may die.
const PLACES: [&str; 6] = [
    "compaction::it-is-due",
    "compaction::its-pin-is-put",
    "compaction::a-pack-is-put",
    "compaction::the-moves-hold",
    "compaction::older-moves-are-removed",
    "compaction::its-pin-is-removed",
];

async fn keeping_all(dir: &TempDir) -> (Node, JobId) {
    let (node, job) = Node::with_job(dir).await;
    keep(&node, job, 1_000).await;
    (node, job)
}

async fn keep(node: &Node, job: JobId, copies: usize) {
    let mut definition = nightly();
    definition.no_of_retention_copies = u32::try_from(copies).unwrap();
    let catalog = node.catalog();
    let changed = catalog.update_job(&site(), job, &definition, None).await;
    changed.unwrap();
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

fn packs(dir: &TempDir) -> usize {
    files(&dir.path().join("vault-shop/packs")).len()
}

/// What was marked becomes old enough to be removed.
pub fn age_marks(dir: &TempDir) {
    let old = SystemTime::now() - Duration::from_secs(2 * 86_400);
    for mark in files(&dir.path().join("vault-shop/deleted")) {
        let mark = std::fs::File::options().write(true).open(mark).unwrap();
        mark.set_modified(old).unwrap();
    }
}

/// Every saveset passes its check, and one of them is restored.
async fn all_is_there(node: &Node, dir: &TempDir, job: JobId, made: &[(ExecutionId, SavesetId)]) {
    let vault = vault_of(node, dir).await;
    for (_, saveset) in made {
        let opened = vault.open_saveset(*saveset).await.unwrap();
        let report = opened.verify(Depth::Decompress, &|_| ()).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
    let copy = format!("copy_{}", node.engine.database_names().len());
    let (_, restore) = node.restore(job, made[0].0, &copy).await;
    let ended = node.ended(restore).await;
    let detail = &ended.status_detail;
    assert_eq!(ended.status, ExecutionStatus::Successful, "{detail}");
    assert_eq!(node.engine.contents(&copy), Some(shop().contents()));
}

#[tokio::test]
async fn many_small_packs_are_merged_when_retention_has_dropped_one_and_the_execution_says_so() {
    let _alone = FailScenario::setup();
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = keeping_all(&dir).await;
    let mut made = Vec::new();
    for _ in 0..KEPT {
        made.push(node.backed_up(job).await);
    }
    let before = packs(&dir);
    keep(&node, job, KEPT).await;
    let execution = node.execute(job).await;
    let ended = node.ended(execution).await;
    let detail = &ended.status_detail;
    assert_eq!(ended.status, ExecutionStatus::Successful, "{detail}");
    assert!(detail.contains("were rewritten as 1 pack of"), "{detail}");
    made.remove(0);
    made.push((execution, ended.saveset_id.unwrap()));
    all_is_there(&node, &dir, job, &made).await;

    // The old packs go a day after they were marked, and nothing is left to be done.
    let tidied = node.jobs.sweep_site(&site()).await.unwrap();
    assert!(
        tidied.swept.marked > 0 && tidied.compacted.is_none(),
        "{tidied:?}"
    );
    age_marks(&dir);
    let tidied = node.jobs.sweep_site(&site()).await.unwrap();
    assert!(tidied.swept.removed as usize >= before, "{tidied:?}");
    assert_eq!(tidied.compacted, None);
    assert_eq!(packs(&dir), 1);
    all_is_there(&node, &dir, job, &made).await;
    let node = Node::start_with(&dir, node.shut_down().await, true).await;
    all_is_there(&node, &dir, job, &made).await;
}

#[tokio::test]
async fn a_compaction_that_dies_between_any_two_steps_loses_nothing_and_is_done_by_the_next() {
    for place in PLACES {
        let scenario = FailScenario::setup();
        let dir = tempfile::tempdir().unwrap();
        let (node, job) = keeping_all(&dir).await;
        let mut made = Vec::new();
        for _ in 0..KEPT {
            made.push(node.backed_up(job).await);
        }
        fail::cfg(place, "panic").unwrap();
        let jobs = node.jobs.clone();
        let died = tokio::spawn(async move { jobs.sweep_site(&site()).await }).await;
        assert!(died.is_err(), "{place}: nobody came by: {died:?}");
        let engine = node.kill().await;
        scenario.teardown();

        let scenario = FailScenario::setup();
        let node = Node::start_with(&dir, engine, true).await;
        all_is_there(&node, &dir, job, &made).await;
        made.push(node.backed_up(job).await);
        let tidied = node.jobs.sweep_site(&site()).await.unwrap();
        // What is moved already is not moved again; but a pin may have to be taken away.
        let held = place.contains("moves") || place.ends_with("removed");
        let rewritten = tidied.compacted.map(|report| report.rewritten);
        assert_eq!(rewritten.unwrap_or(0) == 0, held, "{place}: {tidied:?}");
        all_is_there(&node, &dir, job, &made).await;
        for _ in 0..3 {
            age_marks(&dir);
            node.jobs.sweep_site(&site()).await.unwrap();
        }
        assert!(packs(&dir) < 6, "{place}: {} packs", packs(&dir));
        assert!(
            files(&dir.path().join("vault-shop/pins")).is_empty(),
            "{place}"
        );
        all_is_there(&node, &dir, job, &made).await;
        node.shut_down().await;
        scenario.teardown();
    }
}

#[tokio::test]
async fn a_vault_whose_moves_cannot_be_written_is_swept_all_the_same_and_the_run_tells_why() {
    let _alone = FailScenario::setup();
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = keeping_all(&dir).await;
    for _ in 0..KEPT {
        node.backed_up(job).await;
    }
    // A file in the place of the directory.
    let moves = dir.path().join("vault-shop/moves");
    std::fs::write(&moves, "").unwrap();
    keep(&node, job, KEPT).await;
    let execution = node.execute(job).await;
    let ended = node.ended(execution).await;
    let detail = &ended.status_detail;
    assert_eq!(
        ended.status,
        ExecutionStatus::CompletedWithWarnings,
        "{detail}"
    );
    let warnings = node.catalog().notes(execution).await.unwrap().warnings;
    assert!(
        warnings.iter().any(|w| w.starts_with("the vault was not")),
        "{warnings:?}"
    );
    std::fs::remove_file(&moves).unwrap();
    let tidied = node.jobs.sweep_site(&site()).await.unwrap();
    assert!(tidied.compacted.is_some(), "{tidied:?}");
}
