//! A vault: made, opened, owned, probed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fail::fail_point;
use model::SavesetId;
use object_store::ObjectStore;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::footer::FooterCache;
use crate::ids::random;
use crate::keys::{KEY_FORMAT, KeyFile, Keys};
use crate::moves::Moves;
use crate::probe::probe;
use crate::seal::parse;
use crate::shared_frames::FrameCache;
use crate::store::{PutNew, Store, StoreLimits};
use crate::weigh::Weights;
use crate::{OwnerId, RecoveryKey, SiteKey, Unlock, VaultError, VaultId};

pub(crate) const VAULT_FILE: &str = "vault.json";
pub(crate) const VAULT_FORMAT: u64 = 1;
const CIPHER: &str = "AES-256-GCM";

/// `vault.json`, the keys' objects and the owners' are at most this long.
pub(crate) const MAX_PLAIN_JSON: u64 = 64 << 10;

/// The savesets of one site. Cheap to clone.
#[derive(Clone)]
pub struct Vault(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) keys: Arc<Keys>,
    pub(crate) footers: FooterCache,
    pub(crate) frames: FrameCache,
    pub(crate) weights: Weights,
    pub(crate) moves: Mutex<Arc<Moves>>,
    /// Savesets whose place holds a tombstone: it will for ever.
    pub(crate) tombstones: Mutex<HashSet<SavesetId>>,
    pub(crate) owned: AtomicBool,
    /// Held while a saveset id is taken: two runs of one process never race for one.
    pub(crate) beginning: tokio::sync::Mutex<()>,
    /// Held by the one sweep, or the one compaction.
    pub(crate) sweeping: tokio::sync::Mutex<()>,
}

/// `vault.json`. It holds no secret and is never changed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VaultFile {
    format: u64,
    pub(crate) vault_id: VaultId,
    cipher: String,
    compression: String,
    hash: String,
}

/// `owners/<n>`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OwnerFile {
    format: u64,
    pub(crate) owner: OwnerId,
}

impl OwnerFile {
    pub(crate) fn of(owner: &OwnerId) -> Self {
        OwnerFile {
            format: VAULT_FORMAT,
            owner: owner.clone(),
        }
    }
}

impl VaultFile {
    pub(crate) fn read(object: &[u8]) -> Result<Self, VaultError> {
        let file: VaultFile = versioned(VAULT_FILE, object, VAULT_FORMAT)?;
        if file.cipher != CIPHER || file.compression != "zstd" || file.hash != "BLAKE3" {
            let what = "it names a cipher, compression or hash that no release of format 1 has";
            return Err(VaultError::damaged(VAULT_FILE, what));
        }
        Ok(file)
    }
}

impl Vault {
    /// Makes a vault where none is, owned by `owner`, in a store that does what a vault needs.
    ///
    /// # Errors
    /// [`AlreadyThere`](VaultError::AlreadyThere) where a vault is, or what is left of one; what
    /// [`probe`](Self::probe) finds.
    pub async fn create(
        store: Arc<dyn ObjectStore>,
        site_key: &SiteKey,
        recovery: &RecoveryKey,
        owner: &OwnerId,
    ) -> Result<Vault, VaultError> {
        let store = Store::new(store, StoreLimits::default());
        refuse_remains(&store).await?;
        probe(&store).await?;
        let keys = Keys::generate(VaultId::from_bytes(random()?))?;
        let key_path = format!("keys/{}", keys.id());
        let wrapped = json(&key_path, &keys.wrap(site_key, recovery)?)?;
        let small = store.limits().small;
        if let PutNew::Other(_) = store.put_new(&key_path, wrapped, small).await? {
            return Err(already_there(&store, key_path));
        }
        fail_point!("vault::a-new-key-is-put");
        // The vault begins to be with this put; a key without it is ignored by every reader.
        let file = VaultFile {
            format: VAULT_FORMAT,
            vault_id: keys.vault(),
            cipher: CIPHER.to_owned(),
            compression: "zstd".to_owned(),
            hash: "BLAKE3".to_owned(),
        };
        let file = json(VAULT_FILE, &file)?;
        if let PutNew::Other(_) = store.put_new(VAULT_FILE, file, small).await? {
            store.delete(&key_path).await?;
            return Err(already_there(&store, VAULT_FILE.to_owned()));
        }
        let vault = Vault::new(store, keys);
        fail_point!("vault::a-new-vault-is-there");
        vault.own(owner).await?;
        fail_point!("vault::a-new-vault-is-owned");
        Ok(vault)
    }

    /// Opens the vault that is there. It may be read at once; to write, [`own`](Self::own) it.
    ///
    /// # Errors
    /// [`NoVault`](VaultError::NoVault), [`NewerFormat`](VaultError::NewerFormat),
    /// [`WrongKey`](VaultError::WrongKey), or what the store says.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        unlock: Unlock<'_>,
    ) -> Result<Vault, VaultError> {
        Vault::open_within(store, unlock, StoreLimits::default()).await
    }

    /// The same, with limits for the store's calls.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_within(
        store: Arc<dyn ObjectStore>,
        unlock: Unlock<'_>,
        limits: StoreLimits,
    ) -> Result<Vault, VaultError> {
        let store = Store::new(store, limits);
        let file = match store.get(VAULT_FILE, MAX_PLAIN_JSON).await {
            Err(VaultError::Missing { .. }) => {
                return Err(VaultError::NoVault {
                    place: store.place(),
                });
            }
            other => other?,
        };
        let file = VaultFile::read(&file)?;
        let keys = read_key(&store, file.vault_id, unlock).await?;
        Ok(Vault::new(store, keys))
    }

    fn new(store: Store, keys: Keys) -> Vault {
        Vault(Arc::new(Inner {
            store,
            keys: Arc::new(keys),
            footers: FooterCache::default(),
            frames: FrameCache::default(),
            weights: Weights::default(),
            moves: Mutex::default(),
            tombstones: Mutex::default(),
            owned: AtomicBool::new(false),
            beginning: tokio::sync::Mutex::default(),
            sweeping: tokio::sync::Mutex::default(),
        }))
    }

    /// The same vault with other limits for its store's calls; ownership is to be checked anew.
    pub fn with_limits(&self, limits: StoreLimits) -> Vault {
        Vault(Arc::new(Inner {
            store: Store::new(self.0.store.inner(), limits),
            keys: self.0.keys.clone(),
            footers: FooterCache::default(),
            frames: FrameCache::default(),
            weights: Weights::default(),
            moves: Mutex::default(),
            tombstones: Mutex::default(),
            owned: AtomicBool::new(false),
            beginning: tokio::sync::Mutex::default(),
            sweeping: tokio::sync::Mutex::default(),
        }))
    }

    /// The vault's id.
    pub fn id(&self) -> VaultId {
        self.0.keys.vault()
    }

    /// The store it is in.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.0.store.inner()
    }

    /// Checks that `owner` is the vault's owner; one that has none becomes its. Only then may
    /// something be written.
    ///
    /// # Errors
    /// [`OwnedByAnother`](VaultError::OwnedByAnother).
    pub async fn own(&self, owner: &OwnerId) -> Result<(), VaultError> {
        let store = &self.0.store;
        let names = store.list("owners").await?;
        let highest = names.iter().filter_map(|(name, _)| number(name)).max();
        let number = highest.unwrap_or(1);
        let path = format!("owners/{number}");
        let found = if highest.is_some() {
            store.get(&path, MAX_PLAIN_JSON).await?
        } else {
            let file = json(&path, &OwnerFile::of(owner))?;
            match store
                .put_new(&path, file.clone(), store.limits().small)
                .await?
            {
                PutNew::Ours => file,
                PutNew::Other(found) => found,
            }
        };
        let found: OwnerFile = versioned(&path, &found, VAULT_FORMAT)?;
        if found.owner != *owner {
            return Err(VaultError::OwnedByAnother {
                owner: found.owner.to_string(),
                number,
            });
        }
        self.0.owned.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn must_be_owned(&self) -> Result<(), VaultError> {
        if self.0.owned.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(VaultError::NotOwned {
            vault: self.id().to_string(),
        })
    }

    /// Shows that the store does what a vault needs: it writes, reads, lists, refuses a second
    /// put, and deletes. What it wrote is taken away again.
    ///
    /// # Errors
    /// What the store does not do, or what it says.
    pub async fn probe(&self) -> Result<(), VaultError> {
        probe(&self.0.store).await
    }
}

/// A new vault is never made where another one was: its remains may be all that is left of it.
async fn refuse_remains(store: &Store) -> Result<(), VaultError> {
    match store.get(VAULT_FILE, MAX_PLAIN_JSON).await {
        Err(VaultError::Missing { .. }) => {}
        Ok(_) | Err(VaultError::TooLarge { .. }) => {
            return Err(already_there(store, VAULT_FILE.to_owned()));
        }
        Err(error) => return Err(error),
    }
    for folder in ["manifests", "owners"] {
        if let Some((name, _)) = store.list(folder).await?.first() {
            return Err(already_there(store, format!("{folder}/{name}")));
        }
    }
    Ok(())
}

/// The one key of this vault; keys of a creation that never came to its end are passed over.
async fn read_key(store: &Store, vault: VaultId, unlock: Unlock<'_>) -> Result<Keys, VaultError> {
    let mut found = None;
    let mut others = String::new();
    for (name, _) in store.list("keys").await? {
        let path = format!("keys/{name}");
        let file: KeyFile = versioned(&path, &store.get(&path, MAX_PLAIN_JSON).await?, KEY_FORMAT)?;
        if file.vault_id != vault {
            others += &format!("; {path} is of another vault");
            continue;
        }
        if file.key_id.to_string() != name {
            return Err(VaultError::damaged(
                path,
                format!("it is the key {}", file.key_id),
            ));
        }
        if found.replace((path, file)).is_some() {
            let what = "the vault has two keys, as no vault of format 1 has";
            return Err(VaultError::damaged("keys", what));
        }
    }
    let (path, file) = found.ok_or_else(|| VaultError::Missing {
        path: format!("keys/ (the key of {vault}, the vault that {VAULT_FILE} names{others})"),
    })?;
    Keys::unwrap(&path, &file, unlock)
}

fn already_there(store: &Store, found: String) -> VaultError {
    VaultError::AlreadyThere {
        place: store.place(),
        found,
    }
}

/// A number in its one spelling.
pub(crate) fn number(name: &str) -> Option<u64> {
    let number: u64 = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

pub(crate) fn json(path: &str, value: &impl Serialize) -> Result<Bytes, VaultError> {
    let mut text = serde_json::to_vec(value).map_err(|error| VaultError::Internal {
        doing: "write JSON",
        why: format!("{path}: {error}"),
    })?;
    text.push(b'\n');
    Ok(text.into())
}

/// Reads JSON with a `format`; a newer one is refused before anything else is looked at.
pub(crate) fn versioned<T: DeserializeOwned>(
    path: &str,
    text: &[u8],
    known: u64,
) -> Result<T, VaultError> {
    #[derive(Deserialize)]
    struct Version {
        format: u64,
    }
    let version: Version = parse(path, text)?;
    match version.format {
        0 => Err(VaultError::damaged(
            path,
            "it has format version 0, as none has",
        )),
        found if found > known => Err(VaultError::NewerFormat {
            path: path.to_owned(),
            found,
            known,
        }),
        _ => parse(path, text),
    }
}
