//! Golden vaults: one of each version of the format, written once. Every release reads them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use model::ExposeSecret;
use object_store::ObjectStore;
use vault::{Depth, FORMAT, RecoveryKey, SiteKey, Unlock, Vault};

use crate::everything::read_by_both;
use crate::golden_writer;
use crate::reader::Reader;
use crate::sample::{Keys, memory, objects, put};

const MOST_BYTES: usize = 300_000;

/// For each version the BLAKE3 of `files.txt`, `content.txt` and `README.md`, in this order.
const WRITTEN: &[&str] = &["d97e10f4e182d9fece941591545ec9bb36689bb10c21995b3ed78a2467fd49b9"];

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// A golden vault with what stands beside it.
struct Golden {
    objects: BTreeMap<String, Bytes>,
    keys: Keys,
    /// The digest of each object.
    files: String,
    /// The digest of everything that can be read.
    content: String,
    /// Its keys, and what it is.
    readme: String,
}

impl Golden {
    fn read(version: u64) -> Golden {
        let folder = testdata().join(format!("v{version}"));
        let text = |name: &str| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path);
            text.unwrap_or_else(|error| {
                panic!(
                    "there is no golden vault of format {version} ({}: {error}); \
                     testdata/README.md says how it is written",
                    path.display()
                )
            })
        };
        let readme = text("README.md");
        let mut objects = BTreeMap::new();
        files_below(&folder.join("vault"), "", &mut objects);
        Golden {
            objects,
            keys: keys_in(&readme),
            files: text("files.txt"),
            content: text("content.txt"),
            readme,
        }
    }

    async fn store(&self) -> Arc<dyn ObjectStore> {
        let store = memory();
        for (path, body) in &self.objects {
            put(&*store, path, body.clone()).await;
        }
        store
    }

    /// Whether it is as it was written, and says what it said.
    async fn check(&self) {
        assert_eq!(
            digests(&self.objects),
            self.files,
            "a golden vault is never changed"
        );
        let store = self.store().await;
        for unlock in [
            Unlock::RecoveryKey(&self.keys.recovery),
            Unlock::SiteKey(&self.keys.site),
        ] {
            let vault = Vault::open(store.clone(), unlock).await.unwrap();
            assert_eq!(vault.check().await.unwrap(), []);
            let found = read_by_both(&*store, &self.keys.recovery, &vault).await;
            assert_eq!(digests(&found), self.content);
            for (id, _) in vault.saveset_states().await.unwrap() {
                if let Ok(saveset) = vault.open_saveset(id).await {
                    let report = saveset.verify(Depth::Decompress, &|_| ()).await.unwrap();
                    assert!(report.is_sound() && report.frames > 0, "{report:?}");
                }
            }
        }
        assert_eq!(
            objects(&*store, "").await,
            self.objects,
            "reading writes nothing"
        );
    }
}

fn files_below(folder: &Path, path: &str, found: &mut BTreeMap<String, Bytes>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{path}/{name}").trim_start_matches('/').to_owned();
        match entry.file_type().unwrap().is_dir() {
            true => files_below(&entry.path(), &path, found),
            false => {
                found.insert(path, fs::read(entry.path()).unwrap().into());
            }
        }
    }
}

/// A line for each: BLAKE3, length, name; a line break in a name is `\n`.
fn digests<T: AsRef<[u8]>>(all: &BTreeMap<String, T>) -> String {
    let line = |(name, content): (&String, &T)| {
        let content = content.as_ref();
        let hash = blake3::hash(content).to_hex();
        format!("{hash} {} {}\n", content.len(), name.replace('\n', "\\n"))
    };
    all.iter().map(line).collect()
}

fn keys_in(readme: &str) -> Keys {
    let behind = |what: &str| {
        let line = readme.lines().find_map(|line| line.strip_prefix(what));
        line.unwrap().trim().trim_matches('`').to_owned()
    };
    Keys {
        site: SiteKey::from_text(&behind("Site key:")).unwrap(),
        recovery: behind("Recovery key:").parse::<RecoveryKey>().unwrap(),
    }
}

/// Writes a new one of the present version into a folder.
async fn write(folder: &Path) {
    let (store, keys) = (memory(), Keys::new());
    golden_writer::write(store.clone(), &keys).await;
    let written = objects(&*store, "").await;
    for (path, body) in &written {
        let file = folder.join("vault").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, body).unwrap();
    }
    let unlock = Unlock::RecoveryKey(&keys.recovery);
    let vault = Vault::open(store.clone(), unlock).await.unwrap();
    let content = read_by_both(&*store, &keys.recovery, &vault).await;
    let (site, recovery) = (keys.site.to_text(), keys.recovery.to_text());
    let readme = format!(
        "# The golden vault of format {FORMAT}\n\n\
         Written by release {} of the vault, once; never changed. `vault/` is the vault, `files.txt` has the\n\
         BLAKE3 of each object, `content.txt` that of everything that can be read of it. Its keys protect\n\
         nothing but this.\n\n\
         Recovery key: `{}`\n\n\
         Site key: `{}`\n",
        env!("CARGO_PKG_VERSION"),
        recovery.expose_secret(),
        site.expose_secret(),
    );
    let beside = [
        ("files.txt", digests(&written)),
        ("content.txt", digests(&content)),
        ("README.md", readme),
    ];
    for (name, text) in beside {
        fs::write(folder.join(name), text).unwrap();
    }
}

#[tokio::test]
async fn every_version_of_the_format_has_a_golden_vault_that_reads_as_when_it_was_written() {
    for version in 1..=FORMAT {
        let golden = Golden::read(version);
        let beside = [&golden.files, &golden.content, &golden.readme].map(String::as_str);
        let written = blake3::hash(beside.concat().as_bytes()).to_hex();
        let known = WRITTEN.get(version as usize - 1);
        assert_eq!(
            known,
            Some(&written.as_str()),
            "version {version} in WRITTEN"
        );
        golden.check().await;
    }
    covers_the_format(&Golden::read(FORMAT));
}

#[test]
fn nothing_else_lies_beside_the_golden_vaults() {
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries.map(|e| name(e).into_string().unwrap()).collect()
    };
    let versions = (1..=FORMAT).map(|version| format!("v{version}"));
    let all: BTreeSet<String> = versions.clone().chain(["README.md".to_owned()]).collect();
    assert_eq!(names(&testdata()), all);
    for version in versions {
        let beside = ["README.md", "content.txt", "files.txt", "vault"];
        let beside = beside.map(str::to_owned).into();
        assert_eq!(names(&testdata().join(version)), beside);
    }
}

/// What is written now has something of everything, and passes the same test. With `BACKSTAY_WRITE_GOLDEN`
/// it stays, as the golden vault of a new version: see `testdata/README.md`.
#[tokio::test]
async fn what_a_golden_vault_is_written_by_works_and_covers_the_format() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = match std::env::var_os("BACKSTAY_WRITE_GOLDEN") {
        Some(_) => testdata().join(format!("v{FORMAT}")),
        None => temporary.path().join("v"),
    };
    let shown = folder.display();
    assert!(
        !folder.exists(),
        "{shown} is there: a golden vault is never written anew"
    );
    write(&folder).await;
    let mut written = BTreeMap::new();
    files_below(&folder.join("vault"), "", &mut written);
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let golden = Golden {
        objects: written,
        keys: keys_in(&text("README.md")),
        files: text("files.txt"),
        content: text("content.txt"),
        readme: text("README.md"),
    };
    golden.check().await;
    covers_the_format(&golden);
}

fn covers_the_format(golden: &Golden) {
    let bytes: usize = golden.objects.values().map(Bytes::len).sum();
    println!("{bytes} bytes in {} objects", golden.objects.len());
    assert!(bytes < MOST_BYTES, "{bytes}");
    for folder in [
        "vault.json",
        "owners/",
        "keys/",
        "manifests/",
        "packs/",
        "moves/",
        "pins/",
    ] {
        let mut paths = golden.objects.keys();
        assert!(paths.any(|path| path.starts_with(folder)), "{folder}");
    }
    let text = golden.keys.recovery.to_text();
    let reader = Reader::new(golden.objects.clone(), text.expose_secret());
    let everything = reader.everything();
    for what in ["tombstone 1", "tombstone 4", "catalog 7", "catalog 8"] {
        assert!(everything.contains_key(what), "{what}");
    }
    let seen = reader.seen();
    for what in [
        "a patch",
        "a patch over a patch",
        "a patch of an emptied block",
        "a narrowed segment",
        "a narrowed patch",
        "a segment newer than a patch",
        "an entry without blocks",
        "no sheet",
        "a shared sheet",
        "a moved frame whose old pack is gone",
        "BINARY",
        "TEXT",
        "PAGES",
        "packing 0",
        "packing 1",
        "column 0",
        "column 1",
        "column 2",
        "column 3",
        "a frame of 1048576 bytes",
        "FULL",
        "DELTA",
    ] {
        assert!(seen.contains(what), "{what} is not in {seen:?}");
    }
}
