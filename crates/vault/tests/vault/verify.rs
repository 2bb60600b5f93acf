//! Verification: every damage is found, named, and mapped to the tables and rows that it concerns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{BlockIndex, BlockRange, ObjectName};
use object_store::ObjectStore;
use testkit::{Fault, FaultyStore, Operation, Rule, Times};
use vault::{
    Concern, ContentHash, Damage, Depth, FrameRun, Saveset, SegmentEntry, TableSheet, Vault,
    VaultError, VerifyReport, runs, write_sheet,
};

use crate::sample::{
    self, FRAME, Keys, SHORT, execution, memory, noise, objects, put, remove, saveset_id,
};

const DEPTHS: [Depth; 2] = [Depth::Authenticate, Depth::Decompress];

async fn scene() -> (Arc<dyn ObjectStore>, Keys) {
    let (store, keys) = (memory(), Keys::new());
    sample::write(&keys.create(store.clone()).await, 1, 1)
        .await
        .unwrap();
    (store, keys)
}

/// Opened anew each time: a footer that was read before the damage proves nothing.
async fn verify(store: &Arc<dyn ObjectStore>, keys: &Keys, depth: Depth) -> VerifyReport {
    let vault = keys.open(store.clone()).await.unwrap();
    vault
        .verify_saveset(saveset_id(1), depth, &|_| ())
        .await
        .unwrap()
}

fn path(run: &FrameRun) -> String {
    run.pack.path()
}

/// Flips a byte in the midst of a frame: all frames of a pack are found by their length in its footer,
/// which the second reader's page describes.
async fn flip(vault: &Vault, store: &Arc<dyn ObjectStore>, run: &FrameRun, frame: u32) {
    let all = objects(&**store, "packs").await;
    let mut body = all[&path(run)].to_vec();
    let mut before = vault.read_run(&FrameRun {
        count: frame,
        first: 0,
        pack: run.pack,
    });
    if frame > 0 {
        while before.next().await.unwrap().is_some() {}
    }
    body[before.stored_bytes() as usize + 5] ^= 1;
    put(&**store, &path(run), body.into()).await;
}

fn orders() -> (ObjectName, ObjectName) {
    (ObjectName::one("shop"), ObjectName::two("public", "orders"))
}

fn one(report: &VerifyReport) -> &Damage {
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert_eq!(report.unlisted, 0);
    assert!(!report.is_sound());
    &report.damaged[0]
}

#[tokio::test]
async fn what_is_whole_is_sound_and_every_byte_of_it_is_told() {
    let (store, keys) = scene().await;
    let vault = keys.open(store).await.unwrap();
    let saveset = vault.open_saveset(saveset_id(1)).await.unwrap();
    for depth in DEPTHS {
        let told = AtomicU64::new(0);
        let add = |bytes| {
            told.fetch_add(bytes, Ordering::Relaxed);
        };
        let report = saveset.verify(depth, &add).await.unwrap();
        assert!(report.is_sound());
        assert_eq!(told.into_inner(), report.bytes);
        let manifest = objects(&*vault.store(), "manifests").await["manifests/1"].len() as u64;
        assert_eq!(report.bytes, saveset.bytes_referred() - manifest);
        // Two parts and a sheet; 3 + 3 frames of rows, 2 indexes, the sheet, one part that has bytes.
        assert_eq!((report.parts, report.segments, report.frames), (3, 2, 10));
    }
}

#[tokio::test]
async fn a_broken_frame_of_rows_is_named_with_the_rows_that_have_a_byte_in_it() {
    let (store, keys) = scene().await;
    let vault = keys.open(store.clone()).await.unwrap();
    let sheet = vault.open_saveset(saveset_id(1)).await.unwrap();
    let sheet = sheet.sheet(0, 0).await.unwrap();
    let segment = &sheet.segments[0];
    // 1,800 bytes of rows in three frames of 600; blocks of 500 bytes and five rows each.
    let run = &segment.rows[0];
    assert_eq!((run.count, FRAME), (2, 600));
    flip(&vault, &store, run, run.first + 1).await;
    for depth in DEPTHS {
        let report = verify(&store, &keys, depth).await;
        let damage = one(&report);
        assert_eq!(damage.object, path(run));
        assert_eq!(damage.frame, Some(run.first + 1));
        assert_eq!(damage.what, "its seal is broken");
        // Bytes 600 to 1,199 are of the blocks 1 and 2.
        let (database, table) = orders();
        let blocks = model::BlockRange {
            start: 1,
            end: Some(3),
        };
        let rows = Concern::Rows {
            database,
            table,
            blocks,
            rows: 10,
        };
        assert_eq!(damage.concerns, [rows]);
        let sentence = damage.to_string();
        assert!(
            sentence.ends_with("10 rows of public.orders in database shop, blocks 1 to 2"),
            "{sentence}"
        );
    }
}

#[tokio::test]
async fn a_lost_pack_is_one_damage_that_concerns_everything_in_it() {
    let (store, keys) = scene().await;
    let vault = keys.open(store.clone()).await.unwrap();
    let saveset = vault.open_saveset(saveset_id(1)).await.unwrap();
    let sheet = saveset.sheet(0, 0).await.unwrap();
    let last = sheet.segments[1].rows.last().unwrap();
    let rows_left: u64 = sheet.segments.iter().map(|s| s.row_count).sum();
    // The pack of the first two frames: rows of the first segment only.
    let first = &sheet.segments[0].rows[0];
    remove(&*store, &path(first)).await;
    for depth in DEPTHS {
        let report = verify(&store, &keys, depth).await;
        let damage = one(&report);
        assert_eq!((&damage.object, damage.frame), (&path(first), None));
        assert_eq!(damage.what, "it is missing");
        let [Concern::Rows { rows, blocks, .. }] = &damage.concerns[..] else {
            panic!("{damage:?}");
        };
        assert_eq!(
            (*rows, *blocks),
            (sheet.segments[0].row_count, sheet.segments[0].blocks)
        );
    }
    // The last pack holds the sheet and the dictionary too: nobody can say more than that.
    remove(&*store, &path(last)).await;
    let report = verify(&store, &keys, Depth::Authenticate).await;
    let damage = one(&report);
    assert_eq!((&damage.object, damage.frame), (&path(last), None));
    let (database, table) = orders();
    let part = Concern::Part {
        database: database.clone(),
        name: "schema.dump".to_owned(),
    };
    let rows = Concern::Rows {
        database,
        table,
        blocks: model::BlockRange::ALL,
        rows: rows_left,
    };
    assert_eq!(damage.concerns, [part, rows]);
}

#[tokio::test]
async fn a_verification_goes_on_behind_a_damage_and_finds_all() {
    let (store, keys) = scene().await;
    let vault = keys.open(store.clone()).await.unwrap();
    let saveset = vault.open_saveset(saveset_id(1)).await.unwrap();
    let sheet = saveset.sheet(0, 0).await.unwrap();
    let part = saveset.databases()[0].dictionary[0].runs[0];
    let index = sheet.segments[1].index[0];
    let rows = sheet
        .segments
        .iter()
        .map(|entry| *entry.rows.last().unwrap());
    let broken: Vec<FrameRun> = [part].into_iter().chain(rows).chain([index]).collect();
    // What lies behind is found by reading what lies before it: the last ones first.
    let mut order = broken.clone();
    order.sort_by_key(|run| std::cmp::Reverse(run.first));
    for run in &order {
        flip(&vault, &store, run, run.first).await;
    }
    let broken: Vec<_> = broken
        .iter()
        .map(|run| (path(run), Some(run.first)))
        .collect();
    for depth in DEPTHS {
        let report = verify(&store, &keys, depth).await;
        let found = report.damaged.iter().map(|d| (d.object.clone(), d.frame));
        assert_eq!(found.collect::<Vec<_>>(), broken);
        assert_eq!(report.frames, 10, "what is whole is read all the same");
    }
}

#[tokio::test]
async fn a_damaged_manifest_is_the_damage_and_a_lost_one_is_no_saveset() {
    let (store, keys) = scene().await;
    let whole = objects(&*store, "manifests").await["manifests/1"].clone();
    for (at, length) in [(8, whole.len()), (100, whole.len()), (0, 30)] {
        let mut body = whole.to_vec();
        body[at] ^= 4;
        body.truncate(length);
        put(&*store, "manifests/1", body.into()).await;
        let report = verify(&store, &keys, Depth::Authenticate).await;
        let damage = one(&report);
        assert_eq!((&*damage.object, damage.frame), ("manifests/1", None));
        assert_eq!(damage.concerns, [Concern::Saveset]);
    }
    remove(&*store, "manifests/1").await;
    let vault = keys.open(store).await.unwrap();
    let gone = vault.verify_saveset(saveset_id(1), Depth::Authenticate, &|_| ());
    let error = gone.await.unwrap_err();
    assert!(matches!(error, VaultError::NoSaveset { .. }), "{error}");
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_an_error_and_no_damage() {
    let (inner, keys) = scene().await;
    let store = FaultyStore::new(inner);
    let vault = keys.open(Arc::new(store.clone())).await.unwrap();
    let vault = vault.with_limits(SHORT);
    let saveset: Saveset = vault.open_saveset(saveset_id(1)).await.unwrap();
    for fault in [Fault::Error, Fault::Denied] {
        store.inject(Rule::new(
            Operation::GetRanges,
            "packs/*",
            Times::From(3),
            fault,
        ));
        store.inject(Rule::new(Operation::Get, "packs/*", Times::From(3), fault));
        let error = saveset
            .verify(Depth::Decompress, &|_| ())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("packs/"), "{error}");
        store.heal();
    }
    let report = saveset.verify(Depth::Decompress, &|_| ()).await.unwrap();
    assert!(report.is_sound());
}

/// A table of one segment: four blocks of 300 bytes, the last but one without rows, in frames of 400.
async fn with_index(
    vault: &Vault,
    number: i64,
    index: &BlockIndex,
    hash: Option<ContentHash>,
) -> Saveset {
    let writer = vault.begin(execution(number, 1), None).await.unwrap();
    let mut packs = writer.pack_writer().unwrap();
    let rows = blocks().concat();
    let frames = rows.chunks(400);
    let places: Vec<_> = frames.map(|frame| packs.append(frame).unwrap()).collect();
    let encoded = index.encode();
    let of_index = packs.append(&encoded).unwrap();
    let stored = places
        .iter()
        .chain([&of_index])
        .map(|p| u64::from(p.stored));
    let entry = SegmentEntry {
        saveset: writer.saveset_id(),
        blocks: BlockRange::ALL,
        narrowed: false,
        rows: runs(&places),
        plain_bytes: rows.len() as u64,
        stored_bytes: stored.sum(),
        row_count: 16,
        index: runs(&[of_index]),
        hash: hash.unwrap_or_else(|| ContentHash::of(&encoded)),
    };
    let sheet = TableSheet {
        segments: vec![entry],
        patches: Vec::new(),
    };
    let mut never = |_| panic!("it fills no pack");
    let written = write_sheet(&sheet, &mut packs, &mut never).unwrap();
    writer
        .put_pack(packs.take().unwrap().unwrap())
        .await
        .unwrap();
    let draft = sample::draft(writer.execution(), Vec::new(), Some((sheet, written)));
    writer.commit(draft).await.unwrap()
}

fn blocks() -> [Vec<u8>; 4] {
    [1, 2, 3, 4].map(|seed| noise(seed, if seed == 3 { 0 } else { 300 }))
}

fn right_index() -> BlockIndex {
    let blocks = blocks();
    let of = blocks.iter().enumerate();
    sample::index(of.map(|(block, rows)| (10 * block as u32, &rows[..], 4)))
}

fn without_hashes(index: &BlockIndex) -> BlockIndex {
    let mut bare = BlockIndex::new();
    for span in index.spans() {
        bare.push(*span).unwrap();
    }
    bare
}

#[tokio::test]
async fn must_23_a_block_whose_rows_are_not_those_of_its_index_is_named_by_a_thorough_verification()
{
    let vault = Keys::new().create(memory()).await;
    let right = right_index();
    let sound = with_index(&vault, 1, &right, None).await;
    for depth in DEPTHS {
        assert!(sound.verify(depth, &|_| ()).await.unwrap().is_sound());
    }
    // Where the rows of the block begin: bytes 0, 300, none, 600, in frames of 400 bytes.
    let begin = [Some(0), Some(0), None, Some(1)];
    for (place, frame) in begin.into_iter().enumerate() {
        let mut hashes = right.hashes().unwrap().to_vec();
        hashes[place][15] ^= 1;
        let wrong = without_hashes(&right).with_hashes(hashes).unwrap();
        let saveset = with_index(&vault, 2 + place as i64, &wrong, None).await;
        assert!(
            saveset
                .verify(Depth::Authenticate, &|_| ())
                .await
                .unwrap()
                .is_sound()
        );
        let report = saveset.verify(Depth::Decompress, &|_| ()).await.unwrap();
        let damage = one(&report);
        let sheet = saveset.sheet(0, 0).await.unwrap();
        assert_eq!(damage.object, path(&sheet.segments[0].rows[0]));
        assert_eq!(damage.frame, frame);
        let block = 10 * place as u32;
        assert_eq!(
            damage.what,
            format!("the rows of block {block} are not those of its index (BLAKE3)")
        );
        let (database, table) = orders();
        let rows = Concern::Rows {
            database,
            table,
            blocks: BlockRange {
                start: block,
                end: Some(block + 1),
            },
            rows: 4,
        };
        assert_eq!(damage.concerns, [rows]);
    }
}

#[tokio::test]
async fn must_23_an_index_that_is_not_the_entrys_or_has_no_hashes_is_refused() {
    let vault = Keys::new().create(memory()).await;
    let right = right_index();
    let bare = without_hashes(&right);
    let other = Some(ContentHash::of(b"another"));
    let cases = [(&right, other, "(BLAKE3)"), (&bare, None, "no hashes")];
    for (number, (index, hash, why)) in (1..).zip(cases) {
        let saveset = with_index(&vault, number, index, hash).await;
        let sheet = saveset.sheet(0, 0).await.unwrap();
        let error = saveset.index(&sheet.segments[0]).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        for depth in DEPTHS {
            let report = saveset.verify(depth, &|_| ()).await.unwrap();
            assert!(one(&report).what.contains(why), "{report:?}");
        }
    }
}
