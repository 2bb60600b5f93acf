//! Any tables, in any segments, over any number of streams, come back.

use proptest::prelude::*;
use testkit::memory_engine::MemoryDatabase;

use crate::rig::Rig;

fn any_row() -> impl Strategy<Value = Vec<u8>> {
    let filled = |length: usize, byte: u8| {
        let pattern = (0..length).map(move |place| byte.wrapping_add((place / 97) as u8));
        pattern.collect::<Vec<u8>>()
    };
    prop_oneof![
        6 => (0_usize..40, any::<u8>()),
        3 => (0_usize..5_000, any::<u8>()),
        // Frames of the store end inside of these.
        1 => ((1_usize << 20) - 20..(2_usize << 20) + 20, any::<u8>()),
    ]
    .prop_map(move |(length, byte)| filled(length, byte))
}

fn any_database() -> impl Strategy<Value = MemoryDatabase> {
    let table = (prop::collection::vec(any_row(), 0..30), 1_usize..6);
    prop::collection::vec(table, 0..5).prop_map(|tables| {
        let named = tables.into_iter().enumerate();
        named.fold(
            MemoryDatabase::new(),
            |database, (number, (rows, per_block))| {
                database.table(&format!("t{number}"), rows, per_block)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_tables_come_back(database in any_database(), streams in 1_usize..5, blocks in 1_u32..5) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (before, after, rows) = runtime.block_on(async {
            let mut rig = Rig::new().await;
            rig.streams = streams;
            rig.engine.blocks_per_segment(blocks);
            rig.engine.put_database("shop", database);
            let made = rig.backup().await.unwrap();
            let restored = rig.restore(&made.saveset, "copy").await.unwrap();
            let contents = |name| rig.engine.contents(name).unwrap();
            (contents("shop"), contents("copy"), restored.rows)
        });
        let all = before.tables.values().map(Vec::len).sum::<usize>();
        prop_assert_eq!(rows, all as u64);
        prop_assert_eq!(before, after);
    }
}
