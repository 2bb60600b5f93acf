//! What was written reads back.

use std::sync::Arc;

use model::{BlockRange, FRAME_BYTES};
use object_store::ObjectStore;
use proptest::prelude::*;
use testkit::{Fault, FaultyStore, Operation, Rule, Times};
use vault::{
    ContentHash, Depth, FramePlace, FrameRun, PACK_BYTES, PackId, SegmentEntry, TableSheet,
    TableSize, Vault, runs, write_patched_sheet,
};

use crate::sample::{
    self, Keys, content, draft, drain, execution, memory, noise, objects, saveset_id,
};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        4 => 1..2_000usize,
        1 => FRAME_BYTES - 2..FRAME_BYTES + 1,
    ];
    (any::<u64>(), any::<bool>(), length).prop_map(|(seed, dull, length)| match dull {
        true => vec![seed as u8; length],
        false => noise(seed, length),
    })
}

/// Its first block stands for how many it has.
fn any_entry() -> impl Strategy<Value = SegmentEntry> {
    (
        1..1_000u32,
        any::<u32>(),
        any::<[u8; 32]>(),
        1..9i64,
        any::<bool>(),
    )
        .prop_map(|(blocks, number, hash, saveset, narrowed)| {
            let run = |first, count| FrameRun {
                pack: PackId::from_bytes([2; 16]),
                first,
                count,
            };
            let filled = number % 3 != 0;
            SegmentEntry {
                saveset: sample::saveset_id(saveset),
                blocks: BlockRange {
                    start: blocks,
                    end: None,
                },
                narrowed,
                rows: filled.then(|| run(number / 4, 2)).into_iter().collect(),
                plain_bytes: u64::from(filled) * u64::from(number) * 7,
                stored_bytes: u64::from(number),
                row_count: u64::from(filled) * u64::from(number),
                index: filled.then(|| run(number / 4 + 2, 1)).into_iter().collect(),
                hash: match filled {
                    true => ContentHash::from_bytes(hash),
                    false => ContentHash::of(&[]),
                },
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_frame_written_reads_back(
        frames in prop::collection::vec((frame(), prop::bool::weighted(0.2)), 1..12),
    ) {
        block_on(async {
            let store = memory();
            let vault = Keys::new().create(store).await;
            let writer = vault.begin(execution(1, 1), None).await.unwrap();
            let mut packs = writer.pack_writer().unwrap();
            let mut places: Vec<FramePlace> = Vec::new();
            for (frame, close) in &frames {
                places.push(packs.append(frame).unwrap());
                if *close {
                    writer.put_pack(packs.take().unwrap().unwrap()).await.unwrap();
                }
            }
            if let Some(pack) = packs.take().unwrap() {
                writer.put_pack(pack).await.unwrap();
            }
            for ((frame, _), place) in frames.iter().zip(&places) {
                let run = runs(&[*place])[0];
                let read = drain(&mut vault.read_run(&run)).await.unwrap();
                prop_assert!(read == *frame);
            }
            let whole: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.clone()).collect();
            let hash = ContentHash::of(&whole);
            let mut reader = vault.read_checked(&runs(&places), whole.len() as u64, hash);
            prop_assert!(drain(&mut reader).await.unwrap() == whole);
            let stored: u64 = places.iter().map(|p| u64::from(p.stored)).sum();
            prop_assert_eq!(reader.stored_bytes(), stored);
            Ok(())
        })?;
    }

    #[test]
    fn any_sheet_written_reads_back(
        segments in prop::collection::vec(any_entry(), 0..40),
        patches in prop::collection::vec(any_entry(), 0..20),
        open_end: bool,
    ) {
        let mut sheet = TableSheet::default();
        for (into, entries) in [(&mut sheet.segments, segments), (&mut sheet.patches, patches)] {
            let mut start = 0;
            for mut entry in entries {
                let blocks = entry.blocks.start;
                entry.blocks = BlockRange { start, end: Some(start + blocks) };
                start += blocks;
                into.push(entry);
            }
        }
        for patch in &mut sheet.patches {
            patch.index = vec![FrameRun { pack: PackId::from_bytes([1; 16]), first: 3, count: 1 }];
        }
        sheet.patches.sort_by_key(|patch| patch.saveset);
        if let Some(last) = sheet.segments.last_mut().filter(|_| open_end) {
            last.blocks.end = None;
        }
        block_on(async {
            let vault = Keys::new().create(memory()).await;
            let writer = vault.begin(execution(1, 1), None).await.unwrap();
            let mut packs = writer.pack_writer().unwrap();
            let size = match sheet.is_plain() {
                true => TableSize { rows: sheet.rows(), plain_bytes: sheet.plain_bytes() },
                false => TableSize { rows: 7, plain_bytes: 77 },
            };
            let written = write_patched_sheet(&sheet, size, &mut packs, &mut |_| Ok(())).unwrap();
            writer.put_pack(packs.take().unwrap().unwrap()).await.unwrap();
            prop_assert_eq!((written.rows, written.plain_bytes), (size.rows, size.plain_bytes));
            let draft = draft(writer.execution(), Vec::new(), Some((sheet.clone(), written)));
            let saveset = writer.commit(draft).await.unwrap();
            prop_assert_eq!(saveset.sheet(0, 0).await.unwrap(), sheet);
            Ok(())
        })?;
    }
}

pub async fn a_saveset_is_written_and_read(store: Arc<dyn ObjectStore>) {
    let keys = Keys::new();
    let vault = keys.create(store.clone()).await;
    vault.probe().await.unwrap();
    let saveset = sample::write(&vault, 7, 3).await.unwrap();
    assert_eq!(saveset.id(), saveset_id(1));
    let again = keys.open(store.clone()).await.unwrap();
    assert_eq!(
        sample::read(&again, saveset.id()).await.unwrap(),
        content(3)
    );
    let opened = again.open_saveset(saveset.id()).await.unwrap();
    assert_eq!(opened.manifest(), saveset.manifest());
    assert_eq!(opened.bytes_referred(), saveset.bytes_referred());
    // Footers, trailers and what is around it are not referred to: the rest is all there is.
    let packs = objects(&*store, "packs").await;
    let stored: usize = packs.values().map(|body| body.len()).sum();
    assert_eq!(opened.manifest().bytes_stored, stored as u64);
    let manifest = &objects(&*store, "manifests").await["manifests/1"];
    assert!(opened.bytes_referred() < (stored + manifest.len()) as u64);
    assert!(objects(&*store, "pins").await.is_empty());
    assert!(objects(&*store, "probe").await.is_empty());
}

#[tokio::test]
async fn a_saveset_is_written_and_read_in_memory() {
    a_saveset_is_written_and_read(memory()).await;
}

#[tokio::test]
async fn a_saveset_is_written_and_read_in_a_local_directory() {
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}/vault", place.path().display());
    let (store, _) = vault::open_store(&url, &Default::default()).unwrap();
    a_saveset_is_written_and_read(store).await;
}

#[tokio::test]
async fn a_saveset_is_written_and_read_where_no_range_is_counted_from_the_end() {
    let store = FaultyStore::new(memory());
    store.inject(Rule::new(
        Operation::Get,
        "*",
        Times::Every,
        Fault::NoSuffix,
    ));
    a_saveset_is_written_and_read(Arc::new(store.clone())).await;
    assert!(store.count(Operation::Head) >= 3, "one for each pack");
}

#[tokio::test]
async fn must_7_a_pack_is_full_at_32_mib_and_is_one_put_and_a_content_may_span_packs() {
    let store = FaultyStore::new(memory());
    let vault = Keys::new().create(Arc::new(store.clone())).await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let mut packs = writer.pack_writer().unwrap();
    let frame = noise(1, FRAME_BYTES);
    let mut places = Vec::new();
    store.forget_calls();
    while !packs.is_full() {
        places.push(packs.append(&frame).unwrap());
    }
    assert_eq!(places.len(), 32);
    let refused = packs.append(&frame).unwrap_err();
    assert!(refused.to_string().contains("full"), "{refused}");
    let pack = packs.take().unwrap().unwrap();
    assert!((PACK_BYTES as u64..PACK_BYTES as u64 + (2 << 20)).contains(&pack.stored_bytes()));
    writer.put_pack(pack).await.unwrap();
    places.push(packs.append(&frame).unwrap());
    writer
        .put_pack(packs.take().unwrap().unwrap())
        .await
        .unwrap();
    assert_eq!(
        (
            store.count(Operation::Put),
            store.count(Operation::PutMultipart)
        ),
        (2, 0)
    );
    assert!(packs.take().unwrap().is_none());
    let (first, second) = (runs(&places)[0], runs(&places)[1]);
    assert_eq!((first.count, second.count), (32, 1));
    store.forget_calls();
    let whole = frame.repeat(33);
    let mut reader = vault.read_checked(
        &[first, second],
        whole.len() as u64,
        ContentHash::of(&whole),
    );
    assert!(drain(&mut reader).await.unwrap() == whole);
    // Two footers; the first pack's frames in reads of about 4 MiB, the second's in one.
    assert!(store.calls().len() <= 2 + 9 + 1, "{:?}", store.calls());
}

#[tokio::test]
async fn a_pack_of_many_tiny_frames_has_a_footer_longer_than_the_first_read() {
    let vault = Keys::new().create(memory()).await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let mut packs = writer.pack_writer().unwrap();
    let mut places = Vec::new();
    while !packs.is_full() {
        places.push(packs.append(&(places.len() as u32).to_le_bytes()).unwrap());
    }
    assert_eq!(places.len(), 16_384);
    writer
        .put_pack(packs.take().unwrap().unwrap())
        .await
        .unwrap();
    let all = drain(&mut vault.read_run(&runs(&places)[0])).await.unwrap();
    assert!(
        all.chunks(4)
            .zip(0u32..)
            .all(|(frame, n)| frame == n.to_le_bytes())
    );
    let last = runs(&places[16_383..])[0];
    assert_eq!(
        drain(&mut vault.read_run(&last)).await.unwrap(),
        16_383u32.to_le_bytes()
    );
}

#[tokio::test]
async fn a_frame_that_is_empty_or_too_long_is_refused() {
    let vault = Keys::new().create(memory()).await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let mut packs = writer.pack_writer().unwrap();
    assert!(packs.append(&[]).is_err());
    assert!(packs.append(&vec![0; FRAME_BYTES + 1]).is_err());
    assert!(packs.take().unwrap().is_none());
}

#[tokio::test]
async fn must_2_nothing_readable_and_nothing_equal_is_in_the_vault() {
    let store = memory();
    let vault = Keys::new().create(store.clone()).await;
    for number in 1..4 {
        sample::write(&vault, number, 5).await.unwrap();
    }
    let all = objects(&*store, "").await;
    for (path, body) in &all {
        for word in ["orders", "create table", "nightly", "public", "schema.dump"] {
            let found = body
                .windows(word.len())
                .any(|window| window == word.as_bytes());
            assert!(!found, "{word:?} stands in {path}");
        }
    }
    // Three savesets of one content have nothing in common that a keeper of the store could see.
    let sealed: Vec<_> = all
        .iter()
        .filter(|(path, _)| path.starts_with("packs/"))
        .collect();
    for (place, (path, body)) in sealed.iter().enumerate() {
        for (other, more) in &sealed[place + 1..] {
            assert_ne!(body[..32], more[..32], "{path} and {other} begin alike");
        }
    }
}

#[tokio::test]
async fn verifying_reads_every_byte_and_tells_how_far_it_is() {
    let store = FaultyStore::new(memory());
    let vault: Vault = Keys::new().create(Arc::new(store.clone())).await;
    let saveset = sample::write(&vault, 1, 9).await.unwrap();
    for depth in [Depth::Authenticate, Depth::Decompress] {
        let told = std::sync::atomic::AtomicU64::new(0);
        let add = |bytes| {
            told.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        };
        let report = saveset.verify(depth, &add).await.unwrap();
        assert_eq!((report.parts, report.segments), (3, 2));
        assert_eq!(report.bytes, told.into_inner());
        assert!(report.bytes > 3_000);
    }
}

#[tokio::test]
async fn must_11_content_of_right_frames_in_the_wrong_order_or_number_is_refused() {
    let vault = Keys::new().create(memory()).await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let mut packs = writer.pack_writer().unwrap();
    let frames = [noise(1, 500), noise(2, 500)];
    let places = [
        packs.append(&frames[0]).unwrap(),
        packs.append(&frames[1]).unwrap(),
    ];
    let pack = packs.take().unwrap().unwrap();
    let path = pack.id().path();
    writer.put_pack(pack).await.unwrap();
    let hash = ContentHash::of(&frames.concat());
    let read = async |places: &[FramePlace], bytes| {
        drain(&mut vault.read_checked(&runs(places), bytes, hash)).await
    };
    assert_eq!(read(&places, 1_000).await.unwrap(), frames.concat());
    for (order, bytes) in [
        (vec![places[1], places[0]], 1_000),
        (vec![places[0]], 1_000),
        (vec![places[0], places[1], places[1]], 1_000),
        (vec![], 1_000),
        (places.to_vec(), 999),
    ] {
        let error = read(&order, bytes).await.unwrap_err().to_string();
        assert!(order.is_empty() || error.contains(&path), "{error}");
    }
    // A run past the end of its pack, or of nothing.
    for (first, count) in [(0, 3), (2, 1), (u32::MAX, u32::MAX), (0, 0)] {
        let run = FrameRun {
            pack: places[0].pack,
            first,
            count,
        };
        let error = vault.read_run(&run).next().await.unwrap_err().to_string();
        assert!(error.contains(&path), "{error}");
    }
}

#[tokio::test]
async fn must_11_a_bit_that_turns_on_the_way_is_refused_before_anything_is_given() {
    let store = FaultyStore::new(memory());
    let vault = Keys::new().create(Arc::new(store.clone())).await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let mut packs = writer.pack_writer().unwrap();
    let places = [
        packs.append(&noise(1, 500)).unwrap(),
        packs.append(&noise(2, 500)).unwrap(),
    ];
    writer
        .put_pack(packs.take().unwrap().unwrap())
        .await
        .unwrap();
    let run = runs(&places)[0];
    vault.read_run(&run).next().await.unwrap();
    for operation in [Operation::Get, Operation::GetRanges] {
        let flipped = Fault::FlippedBit(700);
        store.inject(Rule::new(operation, "packs/*", Times::Every, flipped));
    }
    let error = vault.read_run(&run).next().await.unwrap_err();
    assert!(error.to_string().contains("frame 1"), "{error}");
}
