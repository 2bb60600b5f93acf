//! Histories of a database: deltas on deltas, while older savesets go, sweeps and compactions run. Every
//! saveset restores to what the database held then.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ExecutionId, SavesetId};
use testkit::memory_engine::{Contents, Knows, MemoryDatabase};
use vault::{Depth, Saveset};

use crate::delta::backed_up;
use crate::rig::{Rig, rows};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`.
    fn below(&mut self, limit: u32) -> u32 {
        (self.next() % u64::from(limit)) as u32
    }

    /// Once in so many times.
    fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    fn rows(&mut self) -> Vec<Vec<u8>> {
        let (count, length) = (self.below(6), 1 + self.below(300) as usize);
        let seed = self.next();
        let row = |row: Vec<u8>| row.into_iter().map(|byte| byte ^ seed as u8).collect();
        rows(count, length).map(row).collect()
    }
}

const TABLES: [&str; 4] = ["log", "stock", "order", "queue"];

fn first() -> MemoryDatabase {
    // Rows of blocks of 20 kB: a segment has some 400 of them.
    MemoryDatabase::new()
        .ddl("CREATE TABLE log, stock, order, queue")
        .table("log", rows(400, 2_000), 10)
        .table("stock", rows(3_000, 500), 4)
        .table("order", rows(900, 9_000), 1)
        .table("queue", rows(60, 50), 3)
}

fn change(dice: &mut Dice, database: &mut MemoryDatabase) {
    for (place, table) in TABLES.into_iter().enumerate() {
        if dice.once_in(3) {
            continue;
        }
        if dice.once_in(8) {
            database.cut(table, dice.below(120));
        }
        if dice.once_in(25) {
            database.rewrite(table);
        }
        if dice.once_in(12) {
            database.grow(table, dice.below(200));
        }
        let many = if dice.once_in(6) { 150 } else { 5 };
        for _ in 0..dice.below(many) {
            let (block, rows) = (dice.below(100 + 200 * place as u32), dice.rows());
            database.write(table, block, rows);
        }
    }
    if dice.once_in(9) {
        database.drop_table(TABLES[dice.below(4) as usize]);
    }
    if dice.once_in(9) {
        database.set_ddl(&format!("ALTER TABLE {}", dice.next()));
    }
}

/// What the engine knows this time.
fn learn(dice: &mut Dice, rig: &Rig) {
    for table in TABLES {
        rig.engine.knows(
            table,
            match dice.below(8) {
                0 => Knows::Nothing,
                1 => Knows::NoBase,
                2 => Knows::TooMuch(3 + dice.below(9) as usize),
                _ => Knows::Exactly,
            },
        );
    }
}

async fn restores_to(rig: &Rig, saveset: &Saveset, held: &Contents) {
    let name = format!("copy-{}", saveset.id());
    rig.restore(saveset, &name).await.unwrap();
    let found = rig.engine.contents(&name).unwrap();
    rig.engine.drop_database(&name);
    for (table, rows) in &held.tables {
        assert!(found.tables[table] == *rows, "{table} of {saveset:?}");
    }
    assert!(found == *held, "{saveset:?}");
}

async fn history(seed: u64, deltas: i64) {
    let mut dice = Dice(seed);
    let mut rig = Rig::new().await;
    rig.streams = 1 + dice.below(3) as usize;
    rig.engine.blocks_per_segment(40);
    rig.engine.put_database("shop", first());
    let owner = "server-1".parse().unwrap();
    let mut held: BTreeMap<SavesetId, Contents> = BTreeMap::new();
    let mut base = backed_up(&rig, "1.1", None).await.unwrap().saveset;
    held.insert(base.id(), rig.engine.contents("shop").unwrap());
    for number in 2..2 + deltas {
        rig.engine.change("shop", |shop| change(&mut dice, shop));
        learn(&mut dice, &rig);
        let execution = ExecutionId::new(number).unwrap();
        let made = backed_up(&rig, &format!("{execution}.1"), Some(&base))
            .await
            .unwrap();
        let (saveset, now) = (made.saveset, rig.engine.contents("shop").unwrap());
        let all = now.tables.values().map(Vec::len).sum::<usize>() as u64;
        assert_eq!(made.rows, all, "seed {seed}, delta {number}");
        restores_to(&rig, &saveset, &now).await;
        held.insert(saveset.id(), now);
        base = saveset;
        while held.len() > 3 && dice.once_in(2) {
            let which = dice.below(held.len() as u32 - 1) as usize;
            let id = *held.keys().nth(which).unwrap();
            rig.vault.drop_saveset(id).await.unwrap();
            held.remove(&id);
        }
        if dice.once_in(3) {
            rig.vault.sweep(&owner, Duration::ZERO).await.unwrap();
        }
        if dice.once_in(5) {
            rig.vault.compact(&owner).await.unwrap();
        }
    }
    for _ in 0..2 {
        rig.vault.compact(&owner).await.unwrap();
        rig.vault.sweep(&owner, Duration::ZERO).await.unwrap();
    }
    for (id, held) in held {
        let saveset = rig.reopened().await.open_saveset(id).await.unwrap();
        let report = saveset.verify(Depth::Decompress, &|_| {}).await.unwrap();
        assert_eq!(report.damaged, [], "seed {seed}, {saveset:?}");
        restores_to(&rig, &saveset, &held).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_deltas_restore_while_older_savesets_go_and_the_vault_is_compacted() {
    for seed in 1..=3 {
        history(seed, 30).await;
    }
}
