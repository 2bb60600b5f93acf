//! A site comes back on another server from its vault and its recovery key.

use std::path::PathBuf;

use catalog::Page;
use jobs::{AdoptRequest, AdoptedSite, ExecuteRequest, JobsError};
use model::{
    ExecutionStatus, ExposeSecret, Fault, JobId, SavesetId, SecretString, SiteConnection,
    SiteSecrets, VaultLocation,
};
use tempfile::TempDir;
use testkit::memory_engine::{Stage, Trouble};

use crate::node::{Node, nightly, shop, site, site_definition};
use crate::verify::{flip_first, packs, verify};

/// The vault of the first server's site `shop`.
fn vault_of(dir: &TempDir) -> PathBuf {
    dir.path().join("vault-shop")
}

fn request(dir: &TempDir, recovery_key: SecretString) -> AdoptRequest {
    AdoptRequest {
        vault: VaultLocation {
            url: format!("file://{}", vault_of(dir).display()),
            options: Default::default(),
        },
        vault_secrets: Default::default(),
        recovery_key,
        take_over: true,
        site_id: None,
        connection: None,
        password: None,
    }
}

async fn key_of(node: &Node) -> SecretString {
    node.jobs.recovery_key(&site()).await.unwrap()
}

fn refused(adopted: Result<AdoptedSite, JobsError>) -> JobsError {
    match adopted {
        Ok(site) => panic!("it was adopted: {site:?}"),
        Err(error) => error,
    }
}

/// Another server with the same database system below it.
async fn second(dir: &TempDir) -> Node {
    let node = Node::start(dir).await;
    node.engine.put_database("shop", shop());
    node
}

async fn savesets(node: &Node) -> Vec<catalog::SavesetRecord> {
    let found = node.catalog().savesets(&site(), None, Page::All).await;
    found.unwrap().rows
}

#[tokio::test]
async fn everything_restores_on_a_new_server_and_the_next_backup_works() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, job) = Node::with_job(&dir).await;
    let (_, protected) = first.backed_up(job).await;
    let kept = first
        .catalog()
        .set_retained(&site(), protected, true, None)
        .await;
    kept.unwrap();
    let (last, newest) = first.backed_up(job).await;
    let key = key_of(&first).await;
    first.shut_down().await;
    std::fs::remove_dir_all(dir.path().join("data")).unwrap();

    let node = second(&other).await;
    let mut asked = request(&dir, key.clone());
    asked.take_over = false;
    let held = refused(node.jobs.adopt_site(asked).await);
    assert_eq!(held.code(), "vault-owned");
    assert!(held.hint().unwrap().contains("--take-over"));
    let adopted = node
        .jobs
        .adopt_site(request(&dir, key.clone()))
        .await
        .unwrap();
    assert_eq!((adopted.jobs, adopted.savesets), (1, 2));
    assert_eq!(adopted.site.definition.site_id, site());
    let rows = savesets(&node).await;
    assert_eq!(rows[0].saveset_id, newest);
    assert_eq!(rows[0].execution_id, last, "a free number is kept");
    assert!(rows[1].is_retained && rows[1].saveset_id == protected);
    let brought = node.catalog().job(&site(), job).await.unwrap();
    assert_eq!(brought.definition, nightly());
    assert_eq!(
        brought.last_execution.unwrap().status,
        ExecutionStatus::Successful
    );

    for saveset in &rows {
        let copy = format!("copy_{}", saveset.saveset_id);
        let (_, restore) = node.restore(job, saveset.execution_id, &copy).await;
        let ended = node.ended(restore).await;
        assert_eq!(
            ended.status,
            ExecutionStatus::Successful,
            "{}",
            ended.status_detail
        );
        assert_eq!(node.engine.contents(&copy), Some(shop().contents()));
    }
    let (execution, saveset) = node.backed_up(job).await;
    assert!(
        execution.get() > last.get() + 100,
        "no number is given twice"
    );
    assert_eq!(saveset.get(), newest.get() + 1);
    let recovery = key_of(&node).await;
    assert_eq!(recovery.expose_secret(), key.expose_secret());

    // After a restart the vault is opened with what the catalog has.
    node.shut_down().await;
    let node = second(&other).await;
    node.backed_up(job).await;
    assert_eq!(savesets(&node).await.len(), 4);
}

#[tokio::test]
async fn the_old_server_is_refused_and_its_run_under_way_leaves_nothing() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (old, job) = Node::with_job(&dir).await;
    let (_, saveset) = old.backed_up(job).await;
    old.engine.trouble(Stage::Piece, 2, Trouble::Hang);
    let under_way = old.execute(job).await;
    old.engine.reached(Stage::Piece, 2).await;

    let node = second(&other).await;
    let key = key_of(&old).await;
    let adopted = node.jobs.adopt_site(request(&dir, key)).await.unwrap();
    assert!(
        adopted.notes.iter().any(|note| note.contains("1 run")),
        "{:?}",
        adopted.notes
    );
    old.engine.heal();
    let ended = old.ended(under_way).await;
    assert_eq!(ended.status, ExecutionStatus::Failed);
    assert!(
        ended.status_detail.contains("adopted by another server"),
        "{}",
        ended.status_detail
    );
    let again = old.execute(job).await;
    let ended = old.ended(again).await;
    assert_eq!(ended.status, ExecutionStatus::Failed);
    assert!(
        ended.status_detail.contains("belongs to another server"),
        "{}",
        ended.status_detail
    );
    let rows = savesets(&node).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].saveset_id, saveset);
    let (_, next) = node.backed_up(job).await;
    assert_eq!(
        next.get(),
        saveset.get() + 2,
        "the tombstone keeps its number"
    );
}

#[tokio::test]
async fn numbers_that_are_taken_change_and_a_third_server_follows_them() {
    let dirs: [TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (first, job) = Node::with_job(&dirs[0]).await;
    let (execution, saveset) = first.backed_up(job).await;
    let key = key_of(&first).await;

    // The second server has a job and an execution of the same numbers already.
    let busy = second(&dirs[1]).await;
    let mut own = site_definition(dirs[1].path(), "own");
    own.vault.url = format!("file://{}", dirs[1].path().join("own").display());
    busy.jobs
        .make_site(own, SiteSecrets::default())
        .await
        .unwrap();
    let own = "own".parse().unwrap();
    let theirs = busy.catalog().create_job(&own, &nightly()).await.unwrap();
    assert_eq!(theirs.job_id, job);
    let run = busy.jobs.execute(&own, job, ExecuteRequest::default());
    let run = run.await.unwrap();
    assert_eq!(run, execution);
    busy.ended(run).await;
    let adopted = busy.jobs.adopt_site(request(&dirs[0], key.clone())).await;
    assert_eq!(adopted.unwrap().savesets, 1);
    let rows = savesets(&busy).await;
    let (moved_job, moved) = (rows[0].job_id, rows[0].execution_id);
    assert!(moved_job != job && moved != execution);
    let (_, restore) = busy.restore(moved_job, moved, "copy").await;
    assert_eq!(
        busy.ended(restore).await.status,
        ExecutionStatus::Successful
    );
    // Retention counts the adopted copy as the job's own.
    let mut one_copy = nightly();
    one_copy.no_of_retention_copies = 1;
    busy.catalog()
        .update_job(&site(), moved_job, &one_copy, None)
        .await
        .unwrap();
    let (_, next) = busy.backed_up(moved_job).await;
    let rows = savesets(&busy).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].saveset_id, next);
    assert_ne!(next, saveset);

    let third = second(&dirs[2]).await;
    third.jobs.adopt_site(request(&dirs[0], key)).await.unwrap();
    let rows = savesets(&third).await;
    assert_eq!((rows.len(), rows[0].job_id), (1, moved_job));
    third.backed_up(moved_job).await;
}

#[tokio::test]
async fn without_a_copy_of_the_catalog_the_savesets_tell_what_they_can() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, job) = Node::with_job(&dir).await;
    let (execution, _) = first.backed_up(job).await;
    let key = key_of(&first).await;
    first.shut_down().await;
    std::fs::remove_dir_all(vault_of(&dir).join("catalog")).unwrap();
    let node = second(&other).await;
    let needs = refused(node.jobs.adopt_site(request(&dir, key.clone())).await);
    assert_eq!(needs.code(), "adoption-incomplete");
    assert!(needs.to_string().contains("connection"), "{needs}");
    let mut wrong = request(&dir, key.clone());
    wrong.connection = Some(SiteConnection::Sqlite {
        path: "/srv/data".to_owned(),
    });
    assert_eq!(
        refused(node.jobs.adopt_site(wrong).await).code(),
        "other-site-type"
    );
    let mut asked = request(&dir, key);
    asked.connection = Some(SiteConnection::Postgresql {
        url: "postgres://backstay@nowhere/postgres".to_owned(),
    });
    asked.site_id = Some("again".parse().unwrap());
    node.jobs.adopt_site(asked).await.unwrap();
    let again = "again".parse().unwrap();
    let brought = node.catalog().job(&again, job).await.unwrap();
    assert_eq!(brought.definition.name, "nightly");
    assert_eq!(brought.definition.selection, nightly().selection);
    let listed = node.jobs.objects(&again, job, execution, None, Page::All);
    assert!(listed.await.unwrap().total > 0);
    let run = node.jobs.execute(&again, job, ExecuteRequest::default());
    let run = run.await.unwrap();
    assert_eq!(node.ended(run).await.status, ExecutionStatus::Successful);
}

#[tokio::test]
async fn a_damaged_copy_or_manifest_is_passed_over_and_named() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, job) = Node::with_job(&dir).await;
    first.backed_up(job).await;
    let (newest, damaged) = first.backed_up(job).await;
    let key = key_of(&first).await;
    first.shut_down().await;
    for path in [format!("catalog/{newest}"), format!("manifests/{damaged}")] {
        let path = vault_of(&dir).join(path);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let node = second(&other).await;
    let adopted = node.jobs.adopt_site(request(&dir, key)).await.unwrap();
    let notes = adopted.notes.join("\n");
    assert!(notes.contains(&format!("catalog/{newest}")), "{notes}");
    assert_eq!((adopted.jobs, adopted.savesets), (1, 1), "{notes}");
}

#[tokio::test]
async fn what_cannot_be_adopted_is_refused_and_left_as_it_was() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, job) = Node::with_job(&dir).await;
    first.backed_up(job).await;
    let key = key_of(&first).await;
    let node = second(&other).await;

    let typo = request(&dir, SecretString::from("BSRK1-AAAAA"));
    let error = refused(node.jobs.adopt_site(typo).await);
    assert_eq!(error.code(), "recovery-key-unreadable");
    let other_key = vault::RecoveryKey::generate().unwrap().to_text();
    let error = refused(node.jobs.adopt_site(request(&dir, other_key)).await);
    assert_eq!(error.code(), "vault-wrong-key");
    assert!(error.to_string().contains("recovery key"), "{error}");
    let mut nowhere = request(&dir, key.clone());
    nowhere.vault.url.push_str("-not-there");
    assert_eq!(
        refused(node.jobs.adopt_site(nowhere).await).code(),
        "vault-missing"
    );

    // On the server that has it, in its own name and in another.
    let here = refused(first.jobs.adopt_site(request(&dir, key.clone())).await);
    assert_eq!(here.code(), "site-exists");
    let mut renamed = request(&dir, key.clone());
    renamed.site_id = Some("another".parse().unwrap());
    assert_eq!(
        refused(first.jobs.adopt_site(renamed).await).code(),
        "vault-taken"
    );
    first.backed_up(job).await;

    // Deleted there, it comes back there, and nobody has to give it up.
    first.catalog().delete_job(&site(), job).await.unwrap();
    first.catalog().delete_site(&site()).await.unwrap();
    let mut back = request(&dir, key);
    back.take_over = false;
    let adopted = first.jobs.adopt_site(back).await.unwrap();
    assert_eq!((adopted.jobs, adopted.savesets), (1, 2));
    let (execution, saveset) = first.backed_up(job).await;
    assert!(execution.get() < 100 && saveset == SavesetId::new(3).unwrap());
}

#[tokio::test]
async fn a_deleted_job_s_savesets_come_back_without_it_and_restore() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, gone) = Node::with_job(&dir).await;
    let (execution, _) = first.backed_up(gone).await;
    first.catalog().delete_job(&site(), gone).await.unwrap();
    let stays = first
        .catalog()
        .create_job(&site(), &nightly())
        .await
        .unwrap();
    first.backed_up(stays.job_id).await;
    let key = key_of(&first).await;
    first.shut_down().await;
    let node = second(&other).await;
    let adopted = node.jobs.adopt_site(request(&dir, key)).await.unwrap();
    assert_eq!((adopted.jobs, adopted.savesets), (1, 2));
    let missing = node.catalog().job(&site(), gone).await.unwrap_err();
    assert_eq!(missing.code(), "no-job");
    let (_, restore) = node.restore(gone, execution, "copy").await;
    assert_eq!(
        node.ended(restore).await.status,
        ExecutionStatus::Successful
    );
    let new = node
        .catalog()
        .create_job(&site(), &nightly())
        .await
        .unwrap();
    assert!(new.job_id > stays.job_id.max(JobId::new(2).unwrap()));
}

#[tokio::test]
async fn what_a_verification_has_found_damaged_is_known_on_the_new_server() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, job) = Node::with_job(&dir).await;
    let (_, damaged) = first.backed_up(job).await;
    packs(&vault_of(&dir))
        .iter()
        .for_each(|pack| flip_first(pack));
    verify(&first, damaged, false).await;
    let (_, sound) = first.backed_up(job).await;
    let key = key_of(&first).await;
    first.shut_down().await;

    let node = second(&other).await;
    let adopted = node.jobs.adopt_site(request(&dir, key)).await.unwrap();
    assert_eq!(adopted.savesets, 2);
    let rows = savesets(&node).await;
    let known: Vec<_> = rows
        .iter()
        .map(|row| (row.saveset_id, row.is_damaged))
        .collect();
    assert_eq!(known, [(sound, false), (damaged, true)]);
    assert_eq!(
        node.catalog().damaged_savesets().await.unwrap(),
        [(site(), 1)]
    );
    // Whole again, it is sound here too.
    packs(&vault_of(&dir))
        .iter()
        .for_each(|pack| flip_first(pack));
    verify(&node, damaged, false).await;
    assert!(!savesets(&node).await[1].is_damaged);
}
