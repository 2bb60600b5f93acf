//! How large a vault becomes: many backups of a database that grows and shrinks, some of which fail;
//! savesets are deleted by hand, some are protected. Three hundred with `BACKSTAY_LONG_TESTS=1`.

use model::{ExecutionStatus, Fault, SavesetId};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tempfile::TempDir;
use testkit::memory_engine::{MemoryDatabase, Stage, Trouble};
use vault::Depth;

use crate::compaction::{age_marks, files};
use crate::node::{Node, nightly, site, vault_of};

/// The same numbers in every run, unless `SEED` is given.
struct Dice(TestRng);

impl Dice {
    fn new() -> Dice {
        let seed = std::env::var("SEED").map_or(20_261_124, |seed| seed.parse().unwrap());
        eprintln!("SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&u64::to_le_bytes(seed));
        Dice(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.next_u64() % end as u64).unwrap()
    }

    /// Some tables of rows that no compressor shortens.
    fn database(&mut self) -> MemoryDatabase {
        let mut database = MemoryDatabase::new().ddl("CREATE TABLE …");
        for table in 0..1 + self.below(3) {
            let rows: Vec<Vec<u8>> = (0..50 + self.below(400))
                .map(|_| {
                    let mut row = vec![0; 300];
                    self.0.fill_bytes(&mut row);
                    row
                })
                .collect();
            database = database.table(&format!("t{table}"), rows, 10);
        }
        database
    }
}

fn bytes(dir: &TempDir) -> u64 {
    let all = files(&dir.path().join("vault-shop"));
    all.iter().map(|file| file.metadata().unwrap().len()).sum()
}

/// Three days pass: what nothing refers to is marked, then removed, and so is what was moved away.
async fn days_pass(node: &Node, dir: &TempDir) -> u64 {
    let mut rewritten = 0;
    for _ in 0..3 {
        let tidied = node.jobs.sweep_site(&site()).await.unwrap();
        rewritten += tidied.compacted.map_or(0, |report| report.rewritten);
        age_marks(dir);
    }
    rewritten
}

#[tokio::test]
async fn after_many_random_backups_with_deletions_by_hand_the_vault_is_at_most_half_as_large_again()
{
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = Node::with_job(&dir).await;
    let mut definition = nightly();
    definition.no_of_retention_copies = 1_000;
    let job = node.catalog().create_job(&site(), &definition).await;
    let job = job.unwrap().job_id;
    let mut dice = Dice::new();
    let (mut most, mut rewritten, mut failed, mut refused) = (0_f64, 0, 0, 0);
    let mut restored = 0;
    let long = std::env::var_os("BACKSTAY_LONG_TESTS").is_some_and(|value| value == "1");
    let rounds = if long { 300 } else { 60 };
    for round in 1..=rounds {
        let database = dice.database();
        node.engine.put_database("shop", database.clone());
        if dice.below(8) == 0 {
            node.engine.trouble(Stage::Finish, 1, Trouble::Fail);
            let id = node.execute(job).await;
            assert_eq!(node.ended(id).await.status, ExecutionStatus::Failed);
            node.engine.heal();
            failed += 1;
        }
        let (backup, newest) = node.backed_up(job).await;
        if dice.below(9) == 0 {
            protect(&node, newest, true).await;
        }
        refused += delete_some(&node, job, &mut dice).await;
        rewritten += days_pass(&node, &dir).await;
        let kept = node.catalog().savesets_of_job(&site(), job).await.unwrap();
        let referred: u64 = kept.iter().map(|kept| kept.backup_set_size).sum();
        let share = bytes(&dir) as f64 / referred as f64;
        if kept.len() > 3 {
            most = most.max(share);
            assert!(share <= 1.5, "round {round}: {share:.3}");
        }
        if round % 30 == 0 {
            let vault = vault_of(&node, &dir).await;
            for record in &kept {
                let saveset = vault.open_saveset(record.saveset_id).await.unwrap();
                let report = saveset.verify(Depth::Decompress, &|_| ()).await.unwrap();
                assert!(report.is_sound(), "{report:?}");
            }
            // Chance may have deleted the newest one too.
            if !kept.iter().any(|kept| kept.saveset_id == newest) {
                continue;
            }
            restored += 1;
            let copy = format!("copy_{round}");
            let (_, restore) = node.restore(job, backup, &copy).await;
            let ended = node.ended(restore).await;
            assert_eq!(ended.status, ExecutionStatus::Successful);
            assert_eq!(node.engine.contents(&copy), Some(database.contents()));
            node.engine.drop_database(&copy);
        }
    }
    eprintln!("at most {most:.3} times; {failed} failed, {refused} refused, {rewritten} rewritten");
    assert!(failed > 2 && refused > 0 && rewritten > 0 && restored > 0);
}

async fn protect(node: &Node, saveset: SavesetId, retained: bool) {
    let set = node.catalog();
    let set = set.set_retained(&site(), saveset, retained, None).await;
    set.unwrap();
}

/// Deletes by chance until some are left; a protected one is refused, and now and then given free.
async fn delete_some(node: &Node, job: model::JobId, dice: &mut Dice) -> usize {
    let mut refused = 0;
    let keep = 4 + dice.below(6);
    loop {
        let kept = node.catalog().savesets_of_job(&site(), job).await.unwrap();
        if kept.len() <= keep {
            return refused;
        }
        let chosen = &kept[dice.below(kept.len())];
        match node.jobs.delete_saveset(&site(), chosen.saveset_id).await {
            Ok(()) => assert!(!chosen.is_retained),
            Err(error) => {
                assert_eq!(error.code(), "saveset-retained", "{error}");
                assert!(chosen.is_retained);
                refused += 1;
                protect(node, chosen.saveset_id, dice.below(2) == 0).await;
            }
        }
    }
}
