//! Segments with patches above them: the rows are what the patches leave, and no more is read.

use model::BlockRange;
use vault::{Depth, SavesetWriter, TableSheet};

use crate::delta::{self, Blocks, Dice, Pen, check};
use crate::sample::{Keys, execution, memory, objects, put, saveset_id};

fn seed() -> u64 {
    let seed = std::env::var("SEED").map_or(4_711, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    seed
}

#[tokio::test]
async fn must_20_any_chain_of_deltas_reads_as_the_table_was_at_each_of_them() {
    let mut dice = Dice::new(seed());
    let (mut patched, mut narrowed) = (0, 0);
    for _ in 0..12 {
        let vault = Keys::new().create(memory()).await;
        let mut all = vec![delta::full(&vault, 1, 900, &mut dice).await.unwrap()];
        for number in 2..14 {
            let base = &all[dice.roll(all.len() as u32) as usize];
            let next = delta::delta(&vault, number, base, 900, &mut dice).await;
            all.push(next.unwrap());
        }
        for (place, made) in all.iter().enumerate() {
            check(&vault, made, &format!("saveset {place}")).await;
            patched += usize::from(!made.sheet.patches.is_empty());
            narrowed += usize::from(made.sheet.segments.iter().any(|s| s.narrowed));
            let report = made.saveset.verify(Depth::Decompress, &|_| ()).await;
            assert!(report.unwrap().is_sound());
        }
    }
    assert!(patched > 50 && narrowed > 10, "{patched} {narrowed}");
}

fn pen(writer: &SavesetWriter) -> Pen<'_> {
    Pen {
        packs: writer.pack_writer().unwrap(),
        writer,
        frame: 500,
    }
}

/// One segment of four blocks of 1,000 bytes in frames of 500, and a patch over the third block.
#[tokio::test]
async fn only_frames_that_hold_wanted_rows_are_read() {
    let (store, keys) = (memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    let rows = |block: u32, byte: u8| (block, vec![byte; 1_000]);
    let first = vault.begin(execution(1, 1), None).await.unwrap();
    let mut blocks: Blocks = (0..4).map(|block| rows(block, block as u8)).collect();
    let mut one = pen(&first);
    let mut sheet = TableSheet {
        segments: vec![one.entry(BlockRange::ALL, &blocks).await],
        patches: Vec::new(),
    };
    let draft = one.commit(&sheet, &blocks).await.unwrap();
    let base = first.commit(draft).await.unwrap();
    let second = vault.begin(execution(2, 1), Some(base.id())).await.unwrap();
    let mut two = pen(&second);
    let patch = Blocks::from([rows(2, 99)]);
    sheet.patches.push(two.entry(BlockRange::ALL, &patch).await);
    blocks.extend(patch);
    let draft = two.commit(&sheet, &blocks).await.unwrap();
    let saveset = second.commit(draft).await.unwrap();
    let patches = saveset.patches(&sheet).await.unwrap();
    let mut reader = saveset
        .segment_rows(&sheet.segments[0], &patches)
        .await
        .unwrap();
    let mut found = Vec::new();
    while let Some(bytes) = reader.next().await.unwrap() {
        found.extend_from_slice(&bytes);
    }
    assert!(found == blocks.values().flatten().copied().collect::<Vec<u8>>());
    // Six of the eight frames of the segment, two of the patch; the frames of one byte are of one size.
    let frame = reader.stored_bytes() / 8;
    assert!((50..80).contains(&frame), "{frame}");
    assert!(reader.stored_bytes() < 8 * 80);

    // The two frames that nothing wants may be damaged; a verification says so all the same.
    let path = sheet.segments[0].rows[0].pack.path();
    let mut body = objects(&*store, "packs").await[&path].to_vec();
    body[4 * frame as usize + 5] ^= 1;
    put(&*store, &path, body.into()).await;
    let vault = keys.open(store).await.unwrap();
    let saveset = vault.open_saveset(saveset_id(2)).await.unwrap();
    let mut reader = saveset
        .segment_rows(&sheet.segments[0], &patches)
        .await
        .unwrap();
    while reader.next().await.unwrap().is_some() {}
    let report = saveset.verify(Depth::Authenticate, &|_| ()).await.unwrap();
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert_eq!(report.damaged[0].object, path);
    let saveset = vault.open_saveset(saveset_id(1)).await.unwrap();
    let plain = saveset.sheet(0, 0).await.unwrap();
    let none = saveset.patches(&plain).await.unwrap();
    let mut reader = saveset
        .segment_rows(&plain.segments[0], &none)
        .await
        .unwrap();
    let read = async {
        while reader.next().await?.is_some() {}
        Ok::<_, vault::VaultError>(())
    };
    assert!(read.await.unwrap_err().to_string().contains(&path));
}

#[tokio::test]
async fn must_20_a_sheet_whose_patches_are_out_of_order_is_never_written() {
    let vault = Keys::new().create(memory()).await;
    let mut dice = Dice::new(1);
    let mut made = delta::full(&vault, 1, 300, &mut dice).await.unwrap();
    for number in 2..30 {
        made = delta::delta(&vault, number, &made, 300, &mut dice)
            .await
            .unwrap();
        if made.sheet.patches.len() >= 2 {
            break;
        }
    }
    let writer = vault.begin(execution(40, 1), None).await.unwrap();
    let spoil: [fn(&mut TableSheet); 5] = [
        |sheet| sheet.patches.reverse(),
        |sheet| sheet.patches[1].saveset = sheet.patches[0].saveset,
        |sheet| sheet.patches[0].index.clear(),
        |sheet| sheet.segments.swap(0, 1),
        |sheet| sheet.segments[0].blocks.end = None,
    ];
    for spoil in spoil {
        let mut sheet = made.sheet.clone();
        spoil(&mut sheet);
        let error = pen(&writer).commit(&sheet, &made.blocks).await.unwrap_err();
        assert!(error.to_string().contains("sheet"), "{error}");
    }
}
