//! A vault with a saveset that has something of everything, small enough for thousands of tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use model::{
    BlockHasher, BlockIndex, BlockRange, BlockSpan, ClosingFacts, DatabaseSelection, ExecutionId,
    JobId, Moment, ObjectName, ObjectType, RowFormat, RunType, SavesetId, SavesetObject,
    ServerExecutionId, SiteType, TablePlan,
};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use vault::{
    BlobRef, ContentHash, FrameCutter, ManifestDraft, ManifestTable, OwnerId, PackWriter,
    RecoveryKey, SavedDatabase, Saveset, SavesetWriter, SealedPack, SegmentEntry, SiteKey,
    StoreLimits, TableSheet, Unlock, Vault, VaultError, runs, write_sheet,
};

/// Short enough for a test that waits for them to run out, in memory.
pub const SHORT: StoreLimits = StoreLimits {
    small: Duration::from_millis(500),
    pack: Duration::from_millis(500),
    tries: 3,
    pause: Duration::from_millis(1),
    renewal: Duration::from_secs(60),
};

/// Keys that are the same in every test of a process.
pub struct Keys {
    pub site: SiteKey,
    pub recovery: RecoveryKey,
}

impl Keys {
    pub fn new() -> Self {
        Keys {
            site: SiteKey::generate().unwrap(),
            recovery: RecoveryKey::generate().unwrap(),
        }
    }

    pub async fn create(&self, store: Arc<dyn ObjectStore>) -> Vault {
        Vault::create(store, &self.site, &self.recovery, &owner())
            .await
            .unwrap()
    }

    pub async fn open(&self, store: Arc<dyn ObjectStore>) -> Result<Vault, VaultError> {
        let vault = Vault::open(store, Unlock::SiteKey(&self.site)).await?;
        vault.own(&owner()).await?;
        Ok(vault)
    }
}

pub fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

/// A local directory as a store; it is gone with its handle.
pub fn local() -> (tempfile::TempDir, Arc<dyn ObjectStore>) {
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}", place.path().display());
    let store = vault::open_store(&url, &BTreeMap::new()).unwrap().0;
    (place, store)
}

pub fn owner() -> OwnerId {
    "server-1".parse().unwrap()
}

pub fn execution(number: i64, attempt: u32) -> ServerExecutionId {
    ServerExecutionId {
        execution: ExecutionId::new(number).unwrap(),
        attempt,
    }
}

pub fn saveset_id(number: i64) -> SavesetId {
    SavesetId::new(number).unwrap()
}

/// Bytes that no compressor shortens, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// What the sample holds: rows of two segments, a dictionary. One seed, one content.
pub fn content(seed: u64) -> BTreeMap<String, Vec<u8>> {
    let words = "create table orders (id bigint primary key);\n".repeat(40);
    BTreeMap::from([
        ("schema.dump".to_owned(), words.into_bytes()),
        ("empty.sql".to_owned(), Vec::new()),
        ("rows 0".to_owned(), noise(seed, 3 * FRAME)),
        ("rows 1".to_owned(), noise(seed + 1, 2 * FRAME + 17)),
    ])
}

/// The sample's frames are all but the last of a content this long, so that some have one size.
pub const FRAME: usize = 600;

/// Writes one saveset of that content: three packs, the first of two frames of rows, and segments
/// that lie in two of them.
pub async fn write(vault: &Vault, number: i64, seed: u64) -> Result<Saveset, VaultError> {
    let writer = vault.begin(execution(number, 1), None).await?;
    let draft = fill(&writer, seed).await?;
    writer.commit(draft).await
}

pub async fn fill(writer: &SavesetWriter, seed: u64) -> Result<ManifestDraft, VaultError> {
    let content = content(seed);
    let mut packs = writer.pack_writer()?;
    let mut segments = Vec::new();
    for (place, rows) in [&content["rows 0"], &content["rows 1"]]
        .into_iter()
        .enumerate()
    {
        segments.push(segment(writer, &mut packs, place as u32, rows).await?);
    }
    let mut dictionary = Vec::new();
    for name in ["schema.dump", "empty.sql"] {
        dictionary.push(blob(&mut packs, name, &content[name])?);
    }
    let sheet = TableSheet {
        segments,
        patches: Vec::new(),
    };
    let mut full = Vec::new();
    let sheet_ref = write_sheet(&sheet, &mut packs, &mut |pack: SealedPack| {
        full.push(pack);
        Ok(())
    })?;
    full.extend(packs.take()?);
    for pack in full {
        writer.put_pack(pack).await?;
    }
    Ok(draft(
        writer.execution(),
        dictionary,
        Some((sheet, sheet_ref)),
    ))
}

fn blob(packs: &mut PackWriter, name: &str, content: &[u8]) -> Result<BlobRef, VaultError> {
    let mut never = |_| panic!("the sample fills no pack");
    let mut cutter = FrameCutter::new(packs, &mut never);
    cutter.push(content)?;
    let written = cutter.finish()?;
    Ok(BlobRef {
        name: name.to_owned(),
        runs: runs(&written.places),
        plain_bytes: written.bytes,
        stored_bytes: written.stored(),
        hash: written.hash,
    })
}

/// Seals the rows in frames, closes the pack in their midst, and seals the index.
async fn segment(
    writer: &SavesetWriter,
    packs: &mut PackWriter,
    place: u32,
    rows: &[u8],
) -> Result<SegmentEntry, VaultError> {
    let mut places = Vec::new();
    for frame in rows.chunks(FRAME) {
        places.push(packs.append(frame)?);
        if places.len() == 2
            && let Some(pack) = packs.take()?
        {
            writer.put_pack(pack).await?;
        }
    }
    let blocks = (place * 100..).zip(rows.chunks(500));
    let index = index(blocks.map(|(block, rows)| (block, rows, 5)));
    let encoded = index.encode();
    let index_place = packs.append(&encoded)?;
    let stored = places
        .iter()
        .chain([&index_place])
        .map(|p| u64::from(p.stored));
    Ok(SegmentEntry {
        saveset: writer.saveset_id(),
        narrowed: false,
        blocks: BlockRange {
            start: place * 100,
            end: (place == 0).then_some(100),
        },
        rows: runs(&places),
        plain_bytes: rows.len() as u64,
        stored_bytes: stored.sum(),
        row_count: index.rows(),
        index: runs(&[index_place]),
        hash: ContentHash::of(&encoded),
    })
}

/// An index with hashes: of each block its number, its rows, and how many they are.
pub fn index<'a>(blocks: impl Iterator<Item = (u32, &'a [u8], u32)>) -> BlockIndex {
    let mut index = BlockIndex::new();
    let mut hashes = Vec::new();
    for (block, bytes, rows) in blocks {
        let span = BlockSpan {
            block,
            bytes: bytes.len() as u64,
            rows,
        };
        index.push(span).unwrap();
        let mut hasher = BlockHasher::default();
        hasher.update(bytes);
        hashes.push(hasher.finish());
    }
    index.with_hashes(hashes).unwrap()
}

/// A whole database of at most one table, and of one object.
pub fn database(
    name: &str,
    dictionary: Vec<BlobRef>,
    table: Option<ManifestTable>,
) -> SavedDatabase {
    SavedDatabase {
        name: ObjectName::one(name),
        selection: DatabaseSelection::whole(ObjectName::one(name)),
        snapshot_time: Moment::from_micros(1_500_000),
        dictionary,
        objects: vec![SavesetObject {
            name: ObjectName::two("public", "orders"),
            object_type: ObjectType::Table,
            parent_name: ObjectName::one(name),
            parent_type: ObjectType::Database,
            table: table.as_ref().map(|_| 0),
        }],
        tables: table.into_iter().collect(),
        facts: ClosingFacts(serde_json::json!({"version": 1})),
        changed_blocks: None,
    }
}

pub fn draft(
    execution: ServerExecutionId,
    dictionary: Vec<BlobRef>,
    sheet: Option<(TableSheet, vault::SheetRef)>,
) -> ManifestDraft {
    let table = |(sheet, sheet_ref): (TableSheet, vault::SheetRef)| ManifestTable {
        plan: TablePlan {
            name: ObjectName::two("public", "orders"),
            format: RowFormat::Binary,
            shape: "1".to_owned(),
            facts: serde_json::json!({"columns": ["id"]}),
        },
        sheet: Some(sheet_ref),
        rows: sheet.rows(),
        plain_bytes: sheet.plain_bytes(),
        end: None,
    };
    ManifestDraft {
        run_type: RunType::Full,
        base: None,
        job_id: JobId::new(34).unwrap(),
        job_name: "nightly".to_owned(),
        execution,
        site_id: "shop".parse().unwrap(),
        site_type: SiteType::Postgresql,
        databases: vec![database("shop", dictionary, sheet.map(table))],
        start: Moment::from_micros(1_000_000),
        end: Moment::from_micros(2_000_000),
        warnings: Vec::new(),
        skipped: Vec::new(),
        bytes_read: None,
    }
}

/// Reads everything of a saveset, as the content that [`content`] gave.
pub async fn read(vault: &Vault, id: SavesetId) -> Result<BTreeMap<String, Vec<u8>>, VaultError> {
    let saveset = vault.open_saveset(id).await?;
    let mut found = BTreeMap::new();
    for part in &saveset.databases()[0].dictionary {
        let mut reader = saveset.blob(0, &part.name).unwrap();
        found.insert(part.name.clone(), drain(&mut reader).await?);
    }
    for table in 0..saveset.databases()[0].tables.len() {
        let sheet = saveset.sheet(0, table).await?;
        for (place, segment) in sheet.segments.iter().enumerate() {
            saveset.index(segment).await?;
            let rows = drain(&mut saveset.rows(segment)).await?;
            found.insert(format!("rows {place}"), rows);
        }
    }
    Ok(found)
}

pub async fn drain(reader: &mut vault::RunReader) -> Result<Vec<u8>, VaultError> {
    let mut all = Vec::new();
    while let Some(frame) = reader.next().await? {
        all.extend_from_slice(&frame);
    }
    Ok(all)
}

/// All objects below a folder, by path.
pub async fn objects(store: &dyn ObjectStore, folder: &str) -> BTreeMap<String, Bytes> {
    let at = Path::from(folder);
    let listed: Vec<_> = store.list(Some(&at)).try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for object in listed {
        let body = store
            .get(&object.location)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        objects.insert(object.location.to_string(), body);
    }
    objects
}

pub async fn put(store: &dyn ObjectStore, path: &str, body: Bytes) {
    store.put(&Path::from(path), body.into()).await.unwrap();
}

pub async fn remove(store: &dyn ObjectStore, path: &str) {
    store.delete(&Path::from(path)).await.unwrap();
}
