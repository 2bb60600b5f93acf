//! A second reader, written after `docs/saveset-format.md` alone: it uses nothing of this crate. If
//! what is written here changes, that page and the format version must change with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::Bytes;
use serde_json::Value;

/// The objects of a vault, and its data key.
pub struct Reader {
    objects: BTreeMap<String, Bytes>,
    vault_id: Vec<u8>,
    key_id: Vec<u8>,
    data_key: Vec<u8>,
    /// Section 8: for frames that were moved, where they lie now.
    moved: BTreeMap<Frame, Frame>,
    /// Packs that were read already.
    packs: RefCell<BTreeMap<String, Rc<Vec<Vec<u8>>>>>,
    /// What of the format was met.
    seen: RefCell<BTreeSet<String>>,
}

/// A frame, by its pack and its number there.
type Frame = (String, u64);

/// Section 6: an entry of a sheet, with the rows of each block of its index and how many they are.
struct Entry {
    saveset: u64,
    start: u32,
    end: Option<u32>,
    blocks: BTreeMap<u32, (Vec<u8>, u64)>,
}

impl Entry {
    fn holds(&self, block: u32) -> bool {
        block >= self.start && self.end.is_none_or(|end| block < end)
    }
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
fn unpack_frame(opened: &[u8], length: u32, seen: &mut dyn FnMut(String)) -> Vec<u8> {
    seen(format!("a frame of {length} bytes"));
    seen(format!("packing {}", opened[32]));
    let (hash, rest) = opened.split_at(32);
    let packed = zstd::bulk::decompress(&rest[1..], length as usize + 4096).unwrap();
    let plain = match rest[0] {
        0 => packed,
        1 => rows_of_columns(&packed, seen),
        packing => panic!("a packing {packing}"),
    };
    assert_eq!(plain.len(), length as usize);
    assert_eq!(blake3::hash(&plain).as_bytes(), hash);
    plain
}

/// Section 5: rows that are laid out by columns.
fn rows_of_columns(layout: &[u8], seen: &mut dyn FnMut(String)) -> Vec<u8> {
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
        seen(format!("column {kind}"));
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

/// Section 6: a LEB128 number.
fn number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
    }
    panic!("a number of more than ten bytes");
}

/// Section 6: of an index, each block with the length of its rows, their number and their hash.
fn blocks_of_index(mut bytes: &[u8]) -> Vec<(u32, usize, u64, Vec<u8>)> {
    let head = number(&mut bytes);
    assert_eq!(head % 2, 1, "without hashes");
    let mut block = 0;
    let mut blocks = Vec::new();
    for _ in 0..head / 2 {
        block += number(&mut bytes) as u32;
        let length = number(&mut bytes) as usize;
        blocks.push((block, length, number(&mut bytes)));
    }
    assert!(blocks.is_sorted_by(|(one, ..), (next, ..)| one < next));
    assert_eq!(bytes.len(), 16 * blocks.len());
    let hashes = bytes.chunks(16).map(<[u8]>::to_vec);
    let blocks = blocks.into_iter().zip(hashes);
    blocks.map(|((b, l, r), hash)| (b, l, r, hash)).collect()
}

impl Reader {
    /// Sections 2 and 3.
    pub fn new(objects: BTreeMap<String, Bytes>, recovery: &str) -> Reader {
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
        let mut reader = Reader {
            objects,
            vault_id,
            key_id,
            data_key,
            moved: BTreeMap::new(),
            packs: RefCell::default(),
            seen: RefCell::default(),
        };
        reader.moved = reader.last_moves();
        reader
    }

    /// Section 8: the list of moved frames with the highest number.
    fn last_moves(&self) -> BTreeMap<Frame, Frame> {
        let numbers = self
            .paths("moves/")
            .map(|path| path["moves/".len()..].parse::<u64>());
        let Some(highest) = numbers.map(Result::unwrap).max() else {
            return BTreeMap::new();
        };
        let list = self.json(&format!("moves/{highest}"), 5);
        assert_eq!(list["format"], 1);
        let mut moved = BTreeMap::new();
        for run in list["moved"].as_array().unwrap() {
            let ((from, first), (to, to_first)) = (frame(&run["from"]), frame(run));
            for step in 0..run["from"]["count"].as_u64().unwrap() {
                let before = (from.clone(), first + step);
                moved.insert(before, (to.clone(), to_first + step));
            }
        }
        moved
    }

    /// Section 4: the kind and the content of a sealed object.
    pub fn sealed(&self, path: &str) -> (u8, Vec<u8>) {
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

    /// The same object with another content, under a seal of its own.
    pub fn sealed_again(&self, path: &str, content: &[u8]) -> Vec<u8> {
        let mut header = self.objects[path][..64].to_vec();
        header[12..16].copy_from_slice(&(content.len() as u32).to_le_bytes());
        header[32..48].copy_from_slice(&blake3::hash(content).as_bytes()[..16]);
        let context = "Backstay vault format 1: key of a sealed object";
        let key = derive(context, &[&self.data_key, &header[32..48]]);
        let packed = zstd::bulk::compress(content, 1).unwrap();
        let mut sealed = [&blake3::hash(content).as_bytes()[..], &packed].concat();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let bound = Aad::from([&header, path.as_bytes()].concat());
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        key.seal_in_place_append_tag(nonce, bound, &mut sealed)
            .unwrap();
        [header, sealed].concat()
    }

    pub fn json(&self, path: &str, kind: u8) -> Value {
        let (found, plain) = self.sealed(path);
        assert_eq!(found, kind);
        serde_json::from_slice(&plain).unwrap()
    }

    /// Section 5: all frames of a pack.
    pub fn pack(&self, id: &str) -> Rc<Vec<Vec<u8>>> {
        if let Some(known) = self.packs.borrow().get(id) {
            return known.clone();
        }
        let frames = Rc::new(self.frames(id));
        self.packs
            .borrow_mut()
            .insert(id.to_owned(), frames.clone());
        frames
    }

    fn frames(&self, id: &str) -> Vec<Vec<u8>> {
        let object = &self.objects[&pack_path(id)];
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
            let opened = open(&key, number, bound(number, 1, length), sealed);
            plain.push(unpack_frame(&opened, length, &mut |what| self.see(what)));
            rest = after;
        }
        assert!(rest.is_empty());
        plain
    }

    fn runs(&self, runs: &Value) -> Vec<u8> {
        let mut all = Vec::new();
        for run in runs.as_array().unwrap() {
            let (pack, first) = frame(run);
            let count = run["count"].as_u64().unwrap();
            assert!(count > 0);
            for number in first..first + count {
                let at = (pack.clone(), number);
                let (pack, number) = self.moved.get(&at).unwrap_or(&at);
                if !self.objects.contains_key(&pack_path(&at.0)) {
                    self.see("a moved frame whose old pack is gone");
                }
                all.extend_from_slice(&self.pack(pack)[*number as usize]);
            }
        }
        all
    }

    fn hashed(&self, runs: &Value, bytes: &Value, hash: &Value) -> Vec<u8> {
        let all = self.runs(runs);
        assert_eq!(all.len() as u64, bytes.as_u64().unwrap());
        assert_eq!(blake3::hash(&all).to_hex().as_str(), hash.as_str().unwrap());
        all
    }

    /// Section 6: a segment or patch.
    fn entry(&self, entry: &Value, kind: &str) -> Entry {
        let index = self.runs(&entry["index"]);
        assert_eq!(blake3::hash(&index).to_hex().as_str(), entry["hash"]);
        let rows = self.runs(&entry["rows"]);
        assert_eq!(rows.len() as u64, entry["plain_bytes"].as_u64().unwrap());
        let of_index = match index.is_empty() {
            true => {
                self.see("an entry without blocks");
                Vec::new()
            }
            false => blocks_of_index(&index),
        };
        let (mut rest, mut row_count) = (&rows[..], 0);
        let mut blocks = BTreeMap::new();
        for (block, length, count, hash) in of_index {
            let (own, later) = rest.split_at(length);
            let mut padded = own.to_vec();
            padded.resize(own.len().next_multiple_of(8192), 0);
            assert_eq!(
                blake3::hash(&padded).as_bytes()[..16],
                hash,
                "block {block}"
            );
            blocks.insert(block, (own.to_vec(), count));
            rest = later;
            row_count += count;
        }
        assert!(rest.is_empty());
        assert_eq!(row_count, entry["row_count"].as_u64().unwrap());
        let range = &entry["blocks"];
        let mut entry_read = Entry {
            saveset: entry["saveset_id"].as_u64().unwrap(),
            start: range["start"].as_u64().unwrap() as u32,
            end: range["end"].as_u64().map(|end| end as u32),
            blocks,
        };
        let mut within = std::mem::take(&mut entry_read.blocks);
        let all = within.len();
        within.retain(|block, _| entry_read.holds(*block));
        if within.len() < all {
            assert_eq!(entry["narrowed"], true);
            self.see(format!("a narrowed {kind}"));
        }
        Entry {
            blocks: within,
            ..entry_read
        }
    }

    /// Section 6: the rows that the table has, and how many.
    fn table(&self, sheet: &Value) -> (Vec<u8>, u64) {
        let entries = |of: &str, kind: &str| -> Vec<Entry> {
            let entries = sheet[of].as_array().unwrap().iter();
            entries.map(|entry| self.entry(entry, kind)).collect()
        };
        let segments = entries("segments", "segment");
        let patches = entries("patches", "patch");
        let (mut rows, mut row_count) = (Vec::new(), 0);
        for mut segment in segments {
            let mut blocks = std::mem::take(&mut segment.blocks);
            let mut patched = BTreeSet::new();
            for patch in &patches {
                let listed = patch.blocks.iter();
                for (block, rows) in listed.filter(|(block, _)| segment.holds(**block)) {
                    if patch.saveset <= segment.saveset {
                        self.see("a segment newer than a patch");
                        continue;
                    }
                    self.see("a patch");
                    if !patched.insert(*block) {
                        self.see("a patch over a patch");
                    }
                    if rows.0.is_empty() {
                        self.see("a patch of an emptied block");
                    }
                    blocks.insert(*block, rows.clone());
                }
            }
            for (own, count) in blocks.into_values() {
                rows.extend(own);
                row_count += count;
            }
        }
        (rows, row_count)
    }

    /// Section 10: the manifests of all savesets that are there.
    pub fn manifests(&self) -> BTreeMap<String, Value> {
        let mut manifests = BTreeMap::new();
        for path in self.paths("manifests/") {
            if self.sealed(path).0 == 1 {
                let manifest = self.json(path, 1);
                assert_eq!(manifest["format"], 1);
                let id = &path["manifests/".len()..];
                assert_eq!(manifest["saveset_id"].to_string(), id);
                manifests.insert(id.to_owned(), manifest);
            }
        }
        manifests
    }

    fn paths<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        let paths = self.objects.keys().map(String::as_str);
        paths.filter(move |path| path.starts_with(folder))
    }

    fn see(&self, what: impl Into<String>) {
        self.seen.borrow_mut().insert(what.into());
    }

    /// What of the format was met so far.
    pub fn seen(&self) -> BTreeSet<String> {
        self.seen.borrow().clone()
    }

    /// Everything that can be read of the vault, each by a name that says what it is.
    pub fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for path in self.paths("manifests/") {
            if self.sealed(path).0 == 2 {
                let tombstone = self.json(path, 2);
                let of = |member: &str| tombstone[member].as_str().unwrap().to_owned();
                let text = format!("{}: {}", of("cause"), of("reason"));
                all.insert(
                    format!("tombstone {}", tombstone["saveset_id"]),
                    text.into_bytes(),
                );
            }
        }
        for path in self.paths("catalog/") {
            let (kind, content) = self.sealed(path);
            assert_eq!(kind, 4);
            all.insert(path.replace('/', " "), content);
        }
        for (id, manifest) in self.manifests() {
            self.see(manifest["contents"]["run_type"].as_str().unwrap());
            for database in manifest["contents"]["databases"].as_array().unwrap() {
                let of = format!(
                    "saveset {id}, database {}",
                    database["name"].as_str().unwrap()
                );
                for part in database["dictionary"].as_array().unwrap() {
                    let bytes = self.hashed(&part["runs"], &part["plain_bytes"], &part["hash"]);
                    all.insert(
                        format!("{of}, part {}", part["name"].as_str().unwrap()),
                        bytes,
                    );
                }
                for table in database["tables"].as_array().unwrap() {
                    let name = table["plan"]["name"].as_str().unwrap();
                    all.insert(format!("{of}, table {name}"), self.rows(table));
                }
            }
        }
        all
    }

    /// A table of a manifest.
    fn rows(&self, table: &Value) -> Vec<u8> {
        let sheet = &table["sheet"];
        self.see(table["plan"]["format"].as_str().unwrap());
        let place = format!("sheet in {}", sheet["runs"]);
        if self.seen.borrow().contains(&place) {
            self.see("a shared sheet");
        }
        self.see(if sheet.is_null() { "no sheet" } else { &*place });
        let (rows, row_count) = match sheet.is_null() {
            true => (Vec::new(), 0),
            false => {
                let text = self.hashed(&sheet["runs"], &sheet["bytes"], &sheet["hash"]);
                self.table(&serde_json::from_slice(&text).unwrap())
            }
        };
        assert_eq!(table["row_count"], row_count);
        assert_eq!(table["plain_bytes"], rows.len());
        rows
    }
}

fn pack_path(id: &str) -> String {
    format!("packs/{}/{id}", &id[30..])
}

fn frame(run: &Value) -> Frame {
    let pack = run["pack"].as_str().unwrap().to_owned();
    (pack, run["first"].as_u64().unwrap())
}
