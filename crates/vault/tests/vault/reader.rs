//! A second reader, written after `docs/saveset-format.md` alone: it uses nothing of this crate. If
//! what is written here changes, that page and the format version must change with it.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::Bytes;
use model::{BlockIndex, ExposeSecret};
use serde_json::Value;
use vault::RowCursor;

use crate::sample::{self, Keys, content, execution, memory, objects};

/// The objects of a vault, and its data key.
struct Reader {
    objects: BTreeMap<String, Bytes>,
    vault_id: Vec<u8>,
    key_id: Vec<u8>,
    data_key: Vec<u8>,
}

fn derive(context: &str, parts: &[&[u8]]) -> Vec<u8> {
    blake3::derive_key(context, &parts.concat()).to_vec()
}

fn open(key: &[u8], number: u32, additional: Vec<u8>, sealed: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.open_in_place(nonce, Aad::from(additional), &mut sealed)
        .unwrap()
        .to_vec()
}

/// Section 5: a frame's content.
fn unpack_frame(opened: &[u8], length: u32) -> Vec<u8> {
    let (hash, rest) = opened.split_at(32);
    let packed = zstd::bulk::decompress(&rest[1..], length as usize + 4096).unwrap();
    let plain = match rest[0] {
        0 => packed,
        1 => rows_of_columns(&packed),
        packing => panic!("a packing {packing}"),
    };
    assert_eq!(plain.len(), length as usize);
    assert_eq!(blake3::hash(&plain).as_bytes(), hash);
    plain
}

/// Section 5: rows that are laid out by columns.
fn rows_of_columns(layout: &[u8]) -> Vec<u8> {
    let mut rest = layout;
    let mut take = |bytes: usize| {
        let (taken, left) = rest.split_at(bytes);
        rest = left;
        taken
    };
    let head = u32_at(take(4), 0) as usize;
    let tail = u32_at(take(4), 0) as usize;
    let rows = u32_at(take(4), 0) as usize;
    let fields = u16::from_le_bytes(take(2).try_into().unwrap());
    let (head, tail) = (take(head).to_vec(), take(tail).to_vec());
    let value = |planes: &[u8], width: usize, at: usize| -> Vec<u8> {
        let count = planes.len() / width;
        (0..width).map(|plane| planes[plane * count + at]).collect()
    };
    let mut columns = Vec::new();
    for _ in 0..fields {
        let kind = take(1)[0];
        let mut fields: Vec<Option<Vec<u8>>> = vec![None; rows];
        if kind == 3 {
            let lengths = take(4 * rows);
            for (row, field) in fields.iter_mut().enumerate() {
                let length = u32_at(&value(lengths, 4, row), 0);
                *field = (length != u32::MAX).then(|| take(length as usize).to_vec());
            }
        } else if kind != 1 {
            let width = u32_at(take(4), 0) as usize;
            let bits = if kind == 2 {
                take(rows.div_ceil(8))
            } else {
                &[]
            };
            let there = |row: &usize| bits.is_empty() || bits[row / 8] >> (row % 8) & 1 == 0;
            let there: Vec<usize> = (0..rows).filter(there).collect();
            let data = take(width * there.len());
            for (at, row) in there.into_iter().enumerate() {
                fields[row] = Some(match width {
                    2..=16 => value(data, width, at),
                    _ => data[at * width..(at + 1) * width].to_vec(),
                });
            }
        }
        columns.push(fields);
    }
    let mut plain = head;
    for row in 0..rows {
        plain.extend(fields.to_be_bytes());
        for column in &columns {
            match &column[row] {
                None => plain.extend(u32::MAX.to_be_bytes()),
                Some(field) => {
                    plain.extend((field.len() as u32).to_be_bytes());
                    plain.extend(field);
                }
            }
        }
    }
    plain.extend(tail);
    plain
}

/// BLAKE3 of the content, then the content as a zstd frame.
fn unpack(opened: &[u8], length: u32) -> Vec<u8> {
    let (hash, packed) = opened.split_at(32);
    let plain = zstd::bulk::decompress(packed, length as usize).unwrap();
    assert_eq!(plain.len(), length as usize);
    assert_eq!(blake3::hash(&plain).as_bytes(), hash);
    plain
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn bytes_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Section 3: `BSRK1-` and 13 groups of four digits and a check digit, five bits a digit.
fn recovery_key(text: &str) -> Vec<u8> {
    let alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut bits = Vec::new();
    for group in text.split('-').skip(1) {
        for digit in group.chars().take(4) {
            let value = alphabet.find(digit).unwrap();
            bits.extend((0..5).rev().map(|bit| value >> bit & 1));
        }
    }
    let byte = |bits: &[usize]| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8);
    bits[..256].chunks(8).map(byte).collect()
}

impl Reader {
    /// Sections 2 and 3.
    fn new(objects: BTreeMap<String, Bytes>, recovery: &str) -> Reader {
        let vault: Value = serde_json::from_slice(&objects["vault.json"]).unwrap();
        assert_eq!(vault["format"], 1);
        assert_eq!(
            (&vault["cipher"], &vault["compression"], &vault["hash"]),
            (&"AES-256-GCM".into(), &"zstd".into(), &"BLAKE3".into())
        );
        let mut keys = objects.iter().filter(|(path, _)| path.starts_with("keys/"));
        let (path, key) = keys.next().unwrap();
        let key: Value = serde_json::from_slice(key).unwrap();
        assert_eq!(key["vault_id"], vault["vault_id"]);
        assert_eq!(*path, format!("keys/{}", key["key_id"].as_str().unwrap()));
        let (vault_id, key_id) = (bytes_of(&key["vault_id"]), bytes_of(&key["key_id"]));
        let context = "Backstay vault format 1: data key wrapped by the recovery key";
        let wrapping = derive(context, &[&recovery_key(recovery), &vault_id, &key_id]);
        let bound = [&vault_id[..], &key_id].concat();
        let data_key = open(&wrapping, 0, bound, &bytes_of(&key["by_recovery_key"]));
        Reader {
            objects,
            vault_id,
            key_id,
            data_key,
        }
    }

    /// Section 4: the kind and the content of a sealed object.
    fn sealed(&self, path: &str) -> (u8, Vec<u8>) {
        let object = &self.objects[path];
        let (header, sealed) = object.split_at(64);
        assert_eq!(&header[..8], b"BSSEAL\r\n");
        assert_eq!((header[8], header[10], header[11]), (1, 1, 1));
        assert_eq!(
            (&header[16..32], &header[48..]),
            (&self.key_id[..], &self.vault_id[..])
        );
        let context = "Backstay vault format 1: key of a sealed object";
        let key = derive(context, &[&self.data_key, &header[32..48]]);
        let opened = open(&key, 0, [header, path.as_bytes()].concat(), sealed);
        (header[9], unpack(&opened, u32_at(header, 12)))
    }

    fn json(&self, path: &str, kind: u8) -> Value {
        let (found, plain) = self.sealed(path);
        assert_eq!(found, kind);
        serde_json::from_slice(&plain).unwrap()
    }

    /// Section 5: all frames of a pack.
    fn pack(&self, id: &str) -> Vec<Vec<u8>> {
        let object = &self.objects[&format!("packs/{}/{id}", &id[30..])];
        let (body, trailer) = object.split_at(object.len() - 64);
        assert_eq!(&trailer[56..], b"BSPACK\r\n");
        assert_eq!(trailer[48..56], [1, 1, 1, 0, 0, 0, 0, 0]);
        let size = u64::from_le_bytes(trailer[8..16].try_into().unwrap());
        assert_eq!(size, object.len() as u64);
        let id = hex::decode(id).unwrap();
        assert_eq!(
            (&trailer[16..32], &trailer[32..48]),
            (&self.key_id[..], &id[..])
        );
        let (frames, footer) = body.split_at(body.len() - u32_at(trailer, 0) as usize);
        let key = derive(
            "Backstay vault format 1: key of a pack",
            &[&self.data_key, &id],
        );
        let bound = |number: u32, part: u8, plain: u32| {
            let number = number.to_le_bytes();
            [
                &self.vault_id[..],
                &id,
                &number,
                &[part],
                &plain.to_le_bytes(),
            ]
            .concat()
        };
        let additional = [&bound(u32::MAX, 2, footer.len() as u32 - 16), trailer].concat();
        let footer = open(&key, u32::MAX, additional, footer);
        assert_eq!(footer.len(), 8 * u32_at(trailer, 4) as usize);
        let mut rest = frames;
        let mut plain = Vec::new();
        for (number, entry) in (0..).zip(footer.chunks(8)) {
            let (sealed, after) = rest.split_at(u32_at(entry, 0) as usize);
            let length = u32_at(entry, 4);
            plain.push(unpack_frame(
                &open(&key, number, bound(number, 1, length), sealed),
                length,
            ));
            rest = after;
        }
        assert!(rest.is_empty());
        plain
    }

    fn runs(&self, runs: &Value) -> Vec<u8> {
        let mut all = Vec::new();
        for run in runs.as_array().unwrap() {
            let first = run["first"].as_u64().unwrap() as usize;
            let count = run["count"].as_u64().unwrap() as usize;
            let frames = self.pack(run["pack"].as_str().unwrap());
            all.extend(frames[first..first + count].concat());
        }
        all
    }

    fn hashed(&self, runs: &Value, bytes: &Value, hash: &Value) -> Vec<u8> {
        let all = self.runs(runs);
        assert_eq!(all.len() as u64, bytes.as_u64().unwrap());
        assert_eq!(blake3::hash(&all).to_hex().as_str(), hash.as_str().unwrap());
        all
    }
}

#[tokio::test]
async fn a_reader_written_after_the_formats_page_reads_every_row() {
    let (store, keys) = (memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    sample::write(&vault, 1, 77).await.unwrap();
    let written_down = keys.recovery.to_text();
    let reader = Reader::new(objects(&*store, "").await, written_down.expose_secret());

    let manifest = reader.json("manifests/1", 1);
    assert_eq!(
        (&manifest["format"], &manifest["saveset_id"]),
        (&1.into(), &1.into())
    );
    let databases = manifest["contents"]["databases"].as_array().unwrap();
    assert_eq!(databases.len(), 1);
    let database = &databases[0];
    assert_eq!(database["name"], "shop");
    assert_eq!(
        database["selection"],
        serde_json::json!({"database": "shop", "scope": {"whole": {"exclude": []}}})
    );
    assert_eq!(database["objects"][0]["table"], 0);
    let mut found = BTreeMap::new();
    for part in database["dictionary"].as_array().unwrap() {
        let bytes = reader.hashed(&part["runs"], &part["plain_bytes"], &part["hash"]);
        found.insert(part["name"].as_str().unwrap().to_owned(), bytes);
    }
    let sheet = &database["tables"][0]["sheet"];
    let sheet = reader.hashed(&sheet["runs"], &sheet["bytes"], &sheet["hash"]);
    let sheet: Value = serde_json::from_slice(&sheet).unwrap();
    assert_eq!(sheet["patches"], serde_json::json!([]));
    for (place, segment) in sheet["segments"].as_array().unwrap().iter().enumerate() {
        let rows = reader.hashed(&segment["rows"], &segment["plain_bytes"], &segment["hash"]);
        let index = BlockIndex::decode(&reader.runs(&segment["index"])).unwrap();
        assert_eq!(index.bytes(), rows.len() as u64);
        found.insert(format!("rows {place}"), rows);
    }
    assert_eq!(found, content(77));
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
