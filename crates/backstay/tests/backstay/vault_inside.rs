//! A vault read with its recovery key alone, as after the loss of the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use model::SavesetId;
use vault::{Depth, RecoveryKey, Saveset, SavesetState, Unlock, Vault, open_store};

use crate::http::Answer;

pub struct VaultInside {
    folder: PathBuf,
    key: RecoveryKey,
}

impl VaultInside {
    /// The vault in that folder, of the site that was answered.
    pub fn of(folder: PathBuf, made: &Answer) -> VaultInside {
        VaultInside::with_key(folder, made.json()["recovery_key"].as_str().unwrap())
    }

    /// The vault in that folder.
    pub fn with_key(folder: PathBuf, key: &str) -> VaultInside {
        let key = key.parse().unwrap();
        VaultInside { folder, key }
    }

    async fn open(&self) -> Vault {
        let url = format!("file://{}", self.folder.display());
        let (store, _) = open_store(&url, &BTreeMap::new()).unwrap();
        Vault::open(store, Unlock::RecoveryKey(&self.key))
            .await
            .unwrap()
    }

    /// The savesets that are there, ascending. Nothing may be there that cannot be read.
    pub async fn savesets(&self) -> Vec<u64> {
        let states = self.open().await.saveset_states().await.unwrap();
        let damaged = |(id, state): (&SavesetId, &SavesetState)| match state {
            SavesetState::Damaged(what) => panic!("saveset {id} is damaged: {what}"),
            SavesetState::Committed => Some(id.get().unsigned_abs()),
            SavesetState::Tombstone(_) => None,
        };
        states.iter().filter_map(damaged).collect()
    }

    /// Reads all of a saveset and checks it.
    pub async fn verify(&self, saveset: u64) {
        let checked = self.saveset(saveset).await;
        let checked = checked.verify(Depth::Decompress, &|_| {}).await;
        let report = checked.unwrap_or_else(|e| panic!("saveset {saveset} fails its check: {e}"));
        assert!(
            report.is_sound(),
            "saveset {saveset} fails its check: {report:?}"
        );
    }

    async fn saveset(&self, saveset: u64) -> Saveset {
        let id = SavesetId::new(i64::try_from(saveset).unwrap()).unwrap();
        let opened = self.open().await.open_saveset(id).await;
        opened.unwrap_or_else(|e| panic!("saveset {saveset} does not open: {e}"))
    }

    /// As if it had been left alone for that long: what is there becomes so much older.
    pub fn age(&self, by: Duration) {
        VaultInside::age_packs(&self.folder, by);
    }

    /// The same for the vault in that folder.
    pub fn age_packs(folder: &Path, by: Duration) {
        for part in ["packs", "deleted"] {
            for file in files(&folder.join(part)) {
                // A sweep may be about to remove it.
                let Ok(file) = std::fs::File::options().write(true).open(file) else {
                    continue;
                };
                file.set_modified(SystemTime::now() - by).unwrap();
            }
        }
    }
}

fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(below) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
