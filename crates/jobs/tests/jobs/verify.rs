use std::path::{Path, PathBuf};
use std::time::Duration;

use catalog::{SavesetRecord, Verification, VerificationStatus};
use model::{Fault, SavesetId, SiteType};
use testkit::memory_engine::MemoryEngine;

use crate::node::{Node, site};

async fn record(node: &Node, saveset: SavesetId) -> SavesetRecord {
    node.catalog().saveset(&site(), saveset).await.unwrap()
}

/// Waits for the end of a verification.
async fn verified(node: &Node, saveset: SavesetId) -> Verification {
    for _ in 0..3000 {
        let found = record(node, saveset).await.verification;
        if let Some(verification) = found.filter(|found| found.status.is_final()) {
            return verification;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the verification of saveset {saveset} never ends");
}

pub async fn verify(node: &Node, saveset: SavesetId, thorough: bool) -> Verification {
    let begun = node.jobs.verify_saveset(&site(), saveset, thorough).await;
    begun.unwrap();
    verified(node, saveset).await
}

pub fn packs(vault: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(vault.join("packs")).unwrap();
    let mut packs: Vec<PathBuf> = folders
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|pack| pack.unwrap().path())
        .collect();
    packs.sort();
    packs
}

pub fn flip_first(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[0] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_sound_saveset_is_verified_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, saveset) = node.backed_up(job).await;
    assert_eq!(record(&node, saveset).await.verification, None);
    for thorough in [false, true] {
        let found = verify(&node, saveset, thorough).await;
        assert_eq!(
            found.status,
            VerificationStatus::Successful,
            "{}",
            found.detail
        );
        assert_eq!(found.thorough, thorough);
        assert!(found.bytes_done > 0 && found.start_time.is_some() && found.end_time.is_some());
    }
    let never = SavesetId::new(99).unwrap();
    let refused = node.jobs.verify_saveset(&site(), never, false).await;
    assert_eq!(refused.unwrap_err().code(), "no-saveset");
}

#[tokio::test]
async fn a_flipped_byte_is_found_named_with_its_rows_and_not_forgotten_until_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, saveset) = node.backed_up(job).await;
    let vault = dir.path().join("vault-shop");
    let mut concerned = Vec::new();
    for pack in packs(&vault) {
        flip_first(&pack);
        let found = verify(&node, saveset, false).await;
        assert_eq!(found.status, VerificationStatus::Failed, "{}", found.detail);
        let damage = &found.damaged[0];
        let name = pack.file_name().unwrap().to_string_lossy().into_owned();
        assert!(damage.object.contains(&name), "{damage:?}");
        assert_eq!(damage.frame, Some(0));
        concerned.extend(damage.concerns.clone());
        assert!(record(&node, saveset).await.is_damaged);
        let damaged = node.catalog().damaged_savesets().await.unwrap();
        assert_eq!(damaged, [(site(), 1)]);
        flip_first(&pack);
        let found = verify(&node, saveset, false).await;
        assert_eq!(
            found.status,
            VerificationStatus::Successful,
            "{}",
            found.detail
        );
        assert!(!record(&node, saveset).await.is_damaged);
    }
    let rows = concerned.iter().find(|concern| concern.kind == "ROWS");
    let rows = rows.expect("the rows lie in a pack's first frame");
    assert_eq!(rows.name.as_deref(), Some("orders"), "{rows:?}");
    assert!(rows.rows.unwrap() > 0);
}

#[tokio::test]
async fn a_lost_pack_and_a_lost_manifest_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, first) = node.backed_up(job).await;
    let vault = dir.path().join("vault-shop");
    let before = packs(&vault);
    let (_, second) = node.backed_up(job).await;
    std::fs::remove_file(&before[0]).unwrap();
    let found = verify(&node, first, false).await;
    assert_eq!(found.status, VerificationStatus::Failed);
    assert!(found.damaged_count >= 1);
    std::fs::remove_file(vault.join(format!("manifests/{second}"))).unwrap();
    let found = verify(&node, second, false).await;
    assert_eq!(found.status, VerificationStatus::Failed, "{}", found.detail);
    assert_eq!(found.damaged[0].object, format!("manifests/{second}"));
}

#[tokio::test]
async fn one_verification_of_a_saveset_at_a_time_and_a_restart_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, saveset) = node.backed_up(job).await;
    // As a crash in the midst of one leaves it.
    let shop = site();
    let begun = node
        .catalog()
        .begin_verification(&shop, saveset, false, "…");
    begun.await.unwrap();
    let second = node.jobs.verify_saveset(&site(), saveset, false).await;
    assert_eq!(second.unwrap_err().code(), "verification-running");
    let engine = node.kill().await;
    let node = Node::start_with(&dir, engine, true).await;
    let found = record(&node, saveset).await.verification.unwrap();
    assert_eq!(found.status, VerificationStatus::Aborted);
    assert!(
        found.detail.contains("the server stopped"),
        "{}",
        found.detail
    );
    assert!(found.end_time.is_some());
    let found = verify(&node, saveset, false).await;
    assert_eq!(
        found.status,
        VerificationStatus::Successful,
        "{}",
        found.detail
    );
}

#[tokio::test]
async fn a_vault_that_is_away_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, saveset) = node.backed_up(job).await;
    let vault = dir.path().join("vault-shop");
    let away = dir.path().join("away");
    std::fs::rename(&vault, &away).unwrap();
    let refused = node.jobs.verify_saveset(&site(), saveset, false).await;
    assert_eq!(refused.unwrap_err().code(), "vault-missing");
    std::fs::rename(&away, &vault).unwrap();
    assert_eq!(record(&node, saveset).await.verification, None);
    assert!(!record(&node, saveset).await.is_damaged);
}

#[tokio::test]
async fn a_saveset_that_was_verified_is_deleted_and_its_site_too() {
    let dir = tempfile::tempdir().unwrap();
    let engine = MemoryEngine::new(SiteType::Postgresql);
    let node = Node::start_with(&dir, engine, true).await;
    let job = node.make_job(&dir).await;
    let (_, saveset) = node.backed_up(job).await;
    verify(&node, saveset, false).await;
    let (_, other) = node.backed_up(job).await;
    // Deleted while it is verified: that ends, and the deletion is not kept waiting.
    node.jobs
        .verify_saveset(&site(), other, true)
        .await
        .unwrap();
    node.jobs.delete_saveset(&site(), other).await.unwrap();
    let gone = node.jobs.verify_saveset(&site(), other, true).await;
    assert_eq!(gone.unwrap_err().code(), "no-saveset");
    node.jobs.delete_saveset(&site(), saveset).await.unwrap();
    node.catalog().delete_job(&site(), job).await.unwrap();
    node.catalog().delete_site(&site()).await.unwrap();
}
