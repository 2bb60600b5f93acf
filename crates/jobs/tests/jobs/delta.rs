//! What a backup becomes, FULL or DELTA, and what it says of it.

use catalog::Execution;
use jobs::ExecuteRequest;
use model::{
    ChangedBlocksSource, ExecutionStatus, Fault, JobDefinition, JobId, RunType, SavesetId,
    Selection,
};
use tempfile::TempDir;
use testkit::memory_engine::{Knows, MemoryEngine, Stage, Trouble};

use crate::node::{Node, nightly, rows, shop, site, vault_of};

async fn delta(node: &Node, job: JobId) -> Execution {
    let id = queued(node, job).await;
    let ended = node.ended(id).await;
    let detail = &ended.status_detail;
    assert_eq!(ended.status, ExecutionStatus::Successful, "{detail}");
    ended
}

async fn queued(node: &Node, job: JobId) -> model::ExecutionId {
    let request = ExecuteRequest {
        run_type: Some(RunType::Delta),
        ..ExecuteRequest::default()
    };
    node.jobs.execute(&site(), job, request).await.unwrap()
}

async fn set(node: &Node, job: JobId, definition: &JobDefinition) {
    let catalog = node.catalog();
    let changed = catalog.update_job(&site(), job, definition, None).await;
    changed.unwrap();
}

/// It became FULL, and says why.
fn forced(run: &Execution, why: &str) {
    assert_eq!(run.run_type, Some(RunType::Full), "{}", run.status_detail);
    assert_eq!((run.parent_execution, run.base_saveset), (None, None));
    assert!(run.changed_blocks.is_empty());
    let detail = &run.status_detail;
    assert!(
        detail.starts_with(&format!("FULL, because {why}")),
        "{detail}"
    );
}

fn is_delta(run: &Execution, on: &Execution) {
    assert_eq!(run.run_type, Some(RunType::Delta), "{}", run.status_detail);
    assert_eq!(run.parent_execution, Some(on.execution_id));
    assert_eq!(run.base_saveset, on.saveset_id);
}

/// One row more in `orders`.
fn change(engine: &MemoryEngine, block: u32) {
    engine.change("shop", |shop| shop.write("orders", block, rows(3)));
}

async fn restores(node: &Node, job: JobId, backup: &Execution, name: &str) {
    let (_, restore) = node.restore(job, backup.execution_id, name).await;
    let ended = node.ended(restore).await;
    let detail = &ended.status_detail;
    assert_eq!(ended.status, ExecutionStatus::Successful, "{detail}");
    assert_eq!(node.engine.contents(name), node.engine.contents("shop"));
}

fn packs(dir: &TempDir) -> Vec<std::path::PathBuf> {
    let packs = dir.path().join("vault-shop/packs");
    let folders = std::fs::read_dir(packs).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[tokio::test]
async fn the_first_run_is_full_the_next_ones_are_deltas_and_the_last_is_whole_without_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let first = delta(&node, job).await;
    forced(&first, "the job has no saveset to build on");
    change(&node.engine, 3);
    let second = delta(&node, job).await;
    is_delta(&second, &first);
    let said = format!(
        "DELTA on saveset {} of execution {}, changed blocks found from WAL summaries: ",
        first.saveset_id.unwrap(),
        first.execution_id
    );
    assert!(
        second.status_detail.starts_with(&said),
        "{}",
        second.status_detail
    );
    let found: Vec<_> = second.changed_blocks.iter().collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].database.to_string(), "shop");
    assert_eq!(found[0].found.source, ChangedBlocksSource::WalSummary);
    assert!(
        second.bytes_read < first.bytes_read,
        "{} of {}",
        second.bytes_read,
        first.bytes_read
    );
    change(&node.engine, 5);
    let third = delta(&node, job).await;
    is_delta(&third, &second);
    for gone in [&first, &second] {
        let gone = gone.saveset_id.unwrap();
        node.jobs.delete_saveset(&site(), gone).await.unwrap();
    }
    restores(&node, job, &third, "copy").await;
}

#[tokio::test]
async fn the_jobs_own_backup_type_counts_where_nothing_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let mut definition = nightly();
    definition.backup_type = RunType::Delta;
    set(&node, job, &definition).await;
    node.backed_up(job).await;
    let (second, _) = node.backed_up(job).await;
    let second = node.catalog().execution_by_id(second).await.unwrap();
    assert_eq!(second.run_type, Some(RunType::Delta));
    let request = ExecuteRequest {
        run_type: Some(RunType::Full),
        ..ExecuteRequest::default()
    };
    let full = node.jobs.execute(&site(), job, request).await.unwrap();
    let full = node.ended(full).await;
    assert_eq!(full.run_type, Some(RunType::Full));
    assert!(
        full.status_detail.starts_with("FULL, as asked: "),
        "{}",
        full.status_detail
    );
}

#[tokio::test]
async fn another_list_of_objects_forces_full_and_another_order_of_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.put_database("crm", shop());
    node.backed_up(job).await;
    let mut definition = nightly();
    let crm = Selection::whole_database("crm").objects;
    definition.selection.objects.extend(crm);
    set(&node, job, &definition).await;
    let full = delta(&node, job).await;
    forced(&full, "the list of objects has changed since saveset ");
    definition.selection.objects.reverse();
    definition.name = "another name".to_owned();
    definition.no_of_retention_copies = 3;
    set(&node, job, &definition).await;
    is_delta(&delta(&node, job).await, &full);
}

#[tokio::test]
async fn a_site_whose_databases_come_and_go_is_no_other_list() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let mut definition = nightly();
    definition.selection.objects[0].name = model::ObjectName::one("DBC");
    set(&node, job, &definition).await;
    let first = delta(&node, job).await;
    node.engine.put_database("crm", shop());
    let second = delta(&node, job).await;
    is_delta(&second, &first);
    let told = &second.status_detail;
    assert!(
        told.contains("the base does not have the database: crm"),
        "{told}"
    );
    let databases: Vec<_> = second
        .changed_blocks
        .iter()
        .map(|one| one.database.to_string())
        .collect();
    assert_eq!(
        databases,
        ["shop"],
        "crm was read whole, nothing was compared"
    );
    restores(&node, job, &second, "copy").await;
}

#[tokio::test]
async fn a_database_system_that_was_made_anew_forces_full() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.backed_up(job).await;
    node.engine.make_anew();
    let sources = node.engine.count(Stage::OpenSource);
    let full = delta(&node, job).await;
    forced(&full, "the database system was made anew since saveset ");
    assert!(full.status_detail.contains("its identity is 2"));
    assert_eq!(full.attempt, 1, "it is known before anything is read");
    assert_eq!(node.engine.count(Stage::OpenSource), sources + 1);
    is_delta(&delta(&node, job).await, &full);
}

#[tokio::test]
async fn a_run_that_failed_is_no_base_and_one_with_warnings_is() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.skip("empty", "permission denied");
    let warned = node.execute(job).await;
    let warned = node.ended(warned).await;
    assert_eq!(warned.status, ExecutionStatus::CompletedWithWarnings);
    node.engine.trouble(Stage::Finish, 1, Trouble::Fail);
    let failed = queued(&node, job).await;
    let failed = node.ended(failed).await;
    assert_eq!(
        failed.status,
        ExecutionStatus::Failed,
        "{}",
        failed.status_detail
    );
    let next = queued(&node, job).await;
    let next = node.ended(next).await;
    assert_eq!(next.status, ExecutionStatus::CompletedWithWarnings);
    is_delta(&next, &warned);
}

#[tokio::test]
async fn a_base_whose_verification_failed_is_not_built_on() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, base) = node.backed_up(job).await;
    node.catalog().mark_damaged(&site(), base).await.unwrap();
    let full = delta(&node, job).await;
    forced(
        &full,
        &format!("saveset {base}, which it would build on, failed its verification"),
    );
    is_delta(&delta(&node, job).await, &full);
}

#[tokio::test]
async fn a_base_that_is_gone_from_the_vault_is_not_built_on() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, base) = node.backed_up(job).await;
    vault_of(&node, &dir)
        .await
        .drop_saveset(base)
        .await
        .unwrap();
    let full = delta(&node, job).await;
    forced(
        &full,
        &format!("saveset {base}, which it would build on, is gone"),
    );
}

/// Damages something of the base that a DELTA must read, and has one run.
async fn on_a_damaged_base(
    dir: &TempDir,
    damage: impl FnOnce(SavesetId),
) -> (Node, JobId, Execution) {
    let (node, job) = Node::with_job(dir).await;
    // All is compared, so that the base's indexes are read.
    node.engine.knows("orders", Knows::Nothing);
    let (_, base) = node.backed_up(job).await;
    change(&node.engine, 3);
    damage(base);
    let full = delta(&node, job).await;
    let damaged = node.catalog().saveset(&site(), base).await.unwrap();
    assert!(damaged.is_damaged, "it is known from now on");
    forced(
        &full,
        &format!("saveset {base}, which it would build on, cannot be read ("),
    );
    (node, job, full)
}

#[tokio::test]
async fn a_base_whose_packs_are_missing_is_damaged_and_the_run_begins_anew_as_full() {
    let dir = tempfile::tempdir().unwrap();
    let remove = |_| {
        packs(&dir)
            .iter()
            .for_each(|pack| std::fs::remove_file(pack).unwrap())
    };
    let (node, job, full) = on_a_damaged_base(&dir, remove).await;
    assert_eq!(full.attempt, 2, "it was found while it was read");
    assert!(
        full.status_detail.contains("attempt 1 began anew: "),
        "{}",
        full.status_detail
    );
    restores(&node, job, &full, "copy").await;
    is_delta(&delta(&node, job).await, &full);
}

#[tokio::test]
async fn a_base_whose_manifest_is_damaged_forces_full_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("vault-shop");
    let cut = |base: SavesetId| {
        let found = walk(&manifests).into_iter().find(|path| {
            let folder = path
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_string_lossy();
            folder.contains("manifest") || folder.contains("saveset")
        });
        let path = found.unwrap_or_else(|| panic!("the manifest of {base}"));
        std::fs::write(path, b"half of it").unwrap();
    };
    let (node, job, full) = on_a_damaged_base(&dir, cut).await;
    assert_eq!(full.attempt, 1);
    restores(&node, job, &full, "copy").await;
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => walk(&path),
            false => vec![path],
        })
        .collect()
}

#[tokio::test]
async fn a_base_is_not_deleted_while_a_run_builds_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (_, base) = node.backed_up(job).await;
    change(&node.engine, 3);
    node.engine.trouble(Stage::Finish, 1, Trouble::Hang);
    let finishes = node.engine.count(Stage::Finish);
    let running = queued(&node, job).await;
    node.engine.reached(Stage::Finish, finishes + 1).await;
    let refused = node.jobs.delete_saveset(&site(), base).await.unwrap_err();
    assert_eq!(refused.code(), "saveset-in-use");
    assert!(refused.hint().unwrap().contains(&running.to_string()));
    node.engine.heal();
    let ended = node.successful(running).await;
    node.jobs.delete_saveset(&site(), base).await.unwrap();
    restores(&node, job, &ended, "copy").await;
}

#[tokio::test]
async fn after_a_crash_the_base_is_still_there_and_the_delta_is_run_again_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (base_execution, base) = node.backed_up(job).await;
    change(&node.engine, 3);
    node.engine.trouble(Stage::Finish, 1, Trouble::Hang);
    let finishes = node.engine.count(Stage::Finish);
    let running = queued(&node, job).await;
    node.engine.reached(Stage::Finish, finishes + 1).await;
    let engine = node.kill().await;
    let node = Node::start_with(&dir, engine, true).await;
    let died = node.ended(running).await;
    assert_eq!(
        died.status,
        ExecutionStatus::Failed,
        "{}",
        died.status_detail
    );
    let again = node.catalog().unfinished().await.unwrap();
    let again = match again.first() {
        Some(again) => again.execution_id,
        None => model::ExecutionId::new(running.get() + 1).unwrap(),
    };
    let again = node.ended(again).await;
    assert_eq!(again.requeue_of, Some(running));
    assert_eq!(
        again.run_type,
        Some(RunType::Delta),
        "{}",
        again.status_detail
    );
    assert_eq!(again.parent_execution, Some(base_execution));
    assert_eq!(again.base_saveset, Some(base));
    restores(&node, job, &again, "copy").await;
    node.jobs.delete_saveset(&site(), base).await.unwrap();
}

#[tokio::test]
async fn retention_counts_deltas_and_never_takes_what_the_kept_ones_need() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let mut definition = nightly();
    definition.backup_type = RunType::Delta;
    definition.no_of_retention_copies = 2;
    set(&node, job, &definition).await;
    let mut last = None;
    for block in 0..5 {
        change(&node.engine, block);
        last = Some(node.backed_up(job).await);
    }
    let kept = node.catalog().savesets_of_job(&site(), job).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert!(
        kept.iter()
            .all(|saveset| saveset.run_type == RunType::Delta)
    );
    let last = node
        .catalog()
        .execution_by_id(last.unwrap().0)
        .await
        .unwrap();
    restores(&node, job, &last, "copy").await;
}

#[tokio::test]
async fn blocks_that_nobody_knows_of_are_compared_and_the_execution_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.knows("orders", Knows::Nothing);
    node.backed_up(job).await;
    change(&node.engine, 3);
    let run = delta(&node, job).await;
    assert_eq!(run.run_type, Some(RunType::Delta));
    let source = catalog::changed_blocks_source(&run.changed_blocks);
    assert_eq!(source, Some(ChangedBlocksSource::Hash));
    let detail = &run.status_detail;
    assert!(detail.contains("changed blocks found by hash"), "{detail}");
}
