//! Random small databases.

use proptest::prelude::*;
use testkit::digest::{assert_equal, sqlite_digest};

use crate::hand::there_and_back;

#[derive(Debug, Clone)]
enum Step {
    Insert { table: u8, rows: u16, bytes: u16 },
    Delete { table: u8, every: u8 },
    Update { table: u8, every: u8, bytes: u16 },
    AddIndex { table: u8 },
    Vacuum,
    Checkpoint,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 1..300_u16, 0..5000_u16)
            .prop_map(|(table, rows, bytes)| Step::Insert { table, rows, bytes }),
        2 => (0..3_u8, 1..5_u8).prop_map(|(table, every)| Step::Delete { table, every }),
        2 => (0..3_u8, 1..5_u8, 0..9000_u16)
            .prop_map(|(table, every, bytes)| Step::Update { table, every, bytes }),
        1 => (0..3_u8).prop_map(|table| Step::AddIndex { table }),
        1 => Just(Step::Vacuum),
        1 => Just(Step::Checkpoint),
    ]
}

impl Step {
    fn sql(&self) -> String {
        match *self {
            Step::Insert { table, rows, bytes } => format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                 INSERT INTO t{table}(k, v) SELECT hex(randomblob(8)), randomblob({bytes}) FROM n;"
            ),
            Step::Delete { table, every } => {
                format!("DELETE FROM t{table} WHERE unicode(k) % {every} = 0;")
            }
            Step::Update {
                table,
                every,
                bytes,
            } => format!(
                "UPDATE t{table} SET v = randomblob({bytes}) WHERE unicode(k) % {every} = 0;"
            ),
            Step::AddIndex { table } => {
                format!("CREATE INDEX IF NOT EXISTS i{table} ON t{table}(v, k);")
            }
            Step::Vacuum => "VACUUM;".to_owned(),
            Step::Checkpoint => "PRAGMA wal_checkpoint(TRUNCATE);".to_owned(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_database_comes_back_as_it_was(
        shift in 9_u32..=16,
        vacuum in 0..3_u8,
        wal in any::<bool>(),
        steps in prop::collection::vec(step(), 0..12),
    ) {
        let site = tempfile::tempdir().unwrap();
        let file = site.path().join("any.db");
        // It stays open, so that in WAL mode much of it is in the -wal only.
        let database = rusqlite::Connection::open(&file).unwrap();
        database.execute_batch(&format!(
            "PRAGMA page_size = {}; PRAGMA auto_vacuum = {vacuum}; PRAGMA journal_mode = {};
             PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 50;
             CREATE TABLE t0(k TEXT, v); CREATE TABLE t1(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
             CREATE TABLE t2(id INTEGER PRIMARY KEY AUTOINCREMENT, k TEXT UNIQUE, v);",
            1 << shift,
            if wal { "WAL" } else { "DELETE" },
        )).unwrap();
        for step in &steps {
            database.execute_batch(&step.sql()).unwrap();
        }
        let expected = sqlite_digest(&file).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (copy, _other, restored) = runtime.block_on(there_and_back(site.path(), "any.db"));
        assert_equal(&expected, &sqlite_digest(&restored).unwrap());
        prop_assert_eq!(copy.plan.tables[0].facts["page_size"].as_u64(), Some(1 << shift));
        drop(database);
    }
}
