//! What the second reader reads, this crate reads too, and the other way round.

use std::collections::BTreeMap;

use model::ExposeSecret;
use vault::RowCursor;

use crate::delta::{self, Dice};
use crate::everything::read_by_both;
use crate::reader::Reader;
use crate::sample::{self, Keys, content, execution, memory, objects, owner};

#[tokio::test]
async fn a_reader_written_after_the_formats_page_reads_every_row() {
    let (store, keys) = (memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    sample::write(&vault, 1, 77).await.unwrap();
    let found = read_by_both(&*store, &keys.recovery, &vault).await;
    let mut expected = content(77);
    let rows = ["rows 0", "rows 1"].map(|name| expected.remove(name).unwrap());
    let of = |what: String| format!("saveset 1, database shop, {what}");
    let parts = expected.into_iter();
    let mut expected: BTreeMap<String, Vec<u8>> = parts
        .map(|(name, bytes)| (of(format!("part {name}")), bytes))
        .collect();
    expected.insert(of("table public.orders".to_owned()), rows.concat());
    assert_eq!(found, expected);

    let text = keys.recovery.to_text();
    let reader = Reader::new(objects(&*store, "").await, text.expose_secret());
    let manifest = &reader.manifests()["1"];
    assert_eq!(manifest["release"], env!("CARGO_PKG_VERSION"));
    let contents = &manifest["contents"];
    for (member, value) in [
        ("run_type", "FULL".into()),
        ("base", serde_json::Value::Null),
        ("job_id", 34.into()),
        ("server_execution_id", "1.1".into()),
        ("site_type", "POSTGRESQL".into()),
        ("start_time", "1970-01-01T00:00:01.000000Z".into()),
        ("end_time", "1970-01-01T00:00:02.000000Z".into()),
    ] {
        assert_eq!(contents[member], value, "{member}");
    }
    let database = &contents["databases"][0];
    assert_eq!(
        database["selection"],
        serde_json::json!({"database": "shop", "scope": {"whole": {"exclude": []}}})
    );
    assert_eq!(database["objects"][0]["table"], 0);
}

#[tokio::test]
async fn a_reader_written_after_the_formats_page_reads_pins_tombstones_and_catalogs() {
    let (store, keys) = (memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    let text = keys.recovery.to_text();
    let base = sample::write(&vault, 1, 1).await.unwrap().id();
    let writer = vault.begin(execution(5, 2), Some(base)).await.unwrap();
    vault
        .put_catalog(execution(5, 2).execution, b"rows".to_vec())
        .await
        .unwrap();
    let reader = Reader::new(objects(&*store, "").await, text.expose_secret());
    let pin = reader.json("pins/5", 3);
    assert_eq!(
        pin,
        serde_json::json!({
            "server_execution_id": "5.2", "saveset_id": 2, "base": 1,
            "pack_prefix": writer.pack_prefix().to_string(),
        })
    );
    assert_eq!(reader.sealed("catalog/5"), (4, b"rows".to_vec()));
    writer.abandon("it was aborted").await.unwrap();
    vault.drop_saveset(base).await.unwrap();
    let reader = Reader::new(objects(&*store, "").await, text.expose_secret());
    let tombstone = |id: u64, cause: &str, reason: &str| serde_json::json!({"format": 1, "saveset_id": id, "cause": cause, "reason": reason});
    let dropped = "it was dropped by retention";
    assert_eq!(
        reader.json("manifests/1", 2),
        tombstone(1, "dropped", dropped)
    );
    assert_eq!(
        reader.json("manifests/2", 2),
        tombstone(2, "dead", "it was aborted")
    );
}

/// Rows as COPY BINARY gives them: a number, a number or null, always null, a text, no bytes.
fn rows() -> Vec<u8> {
    let mut rows = Vec::new();
    for row in 0..3000_u32 {
        let field = |value: Option<&[u8]>| match value {
            None => u32::MAX.to_be_bytes().to_vec(),
            Some(value) => [&(value.len() as u32).to_be_bytes()[..], value].concat(),
        };
        rows.extend(5_u16.to_be_bytes());
        rows.extend(field(Some(&u64::from(row).to_be_bytes())));
        rows.extend(field((row % 3 > 0).then_some(&row.to_be_bytes()[..])));
        rows.extend(field(None));
        rows.extend(field(Some("a text".repeat(row as usize % 9).as_bytes())));
        rows.extend(field(Some(b"")));
    }
    rows
}

#[tokio::test]
async fn a_reader_written_after_the_formats_page_reads_rows_laid_out_by_columns() {
    let (store, keys) = (memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let (rows, mut cursor) = (rows(), RowCursor::new());
    let mut packs = writer.pack_writer().unwrap();
    let mut stored = 0;
    for frame in rows.chunks(50_021) {
        stored += packs.append_rows(frame, &mut cursor).unwrap().stored;
    }
    let pack = packs.take().unwrap().unwrap();
    let id = pack.id().to_string();
    writer.put_pack(pack).await.unwrap();
    assert!(
        (stored as usize) < rows.len() / 12,
        "{stored} of {}",
        rows.len()
    );

    let text = keys.recovery.to_text();
    let reader = Reader::new(objects(&*store, "").await, text.expose_secret());
    assert_eq!(reader.pack(&id).concat(), rows);
}

#[tokio::test]
async fn a_reader_written_after_the_formats_page_reads_patches_narrowed_segments_and_moved_frames()
{
    let (mut patched, mut narrowed) = (0, 0);
    for seed in 1..=3 {
        let (store, keys) = (memory(), Keys::new());
        let vault = keys.create(store.clone()).await;
        let mut dice = Dice::new(seed);
        let mut all = vec![delta::full(&vault, 1, 700, &mut dice).await.unwrap()];
        for number in 2..=12 {
            let base = &all[all.len() - 1 - dice.roll(2.min(all.len() as u32)) as usize];
            let next = delta::delta(&vault, number, base, 700, &mut dice).await;
            all.push(next.unwrap());
        }
        read_by_both(&*store, &keys.recovery, &vault).await;
        for (place, made) in all.iter().enumerate() {
            patched += usize::from(!made.sheet.patches.is_empty());
            narrowed += usize::from(made.sheet.segments.iter().any(|s| s.narrowed));
            if place % 4 < 3 {
                vault.drop_saveset(made.saveset.id()).await.unwrap();
            }
        }
        let before = read_by_both(&*store, &keys.recovery, &vault).await;
        assert!(vault.compact(&owner()).await.unwrap().rewritten > 0);
        for swept in 0..3 {
            let after = read_by_both(&*store, &keys.recovery, &vault).await;
            assert!(after == before, "seed {seed}, {swept} sweeps");
            vault
                .sweep(&owner(), std::time::Duration::ZERO)
                .await
                .unwrap();
        }
        assert!(!objects(&*store, "moves").await.is_empty());
    }
    assert!(patched > 12 && narrowed > 6, "{patched} {narrowed}");
}
