//! A look at every object of a vault that is no pack: whether it is what was written.

use crate::damage::Found;
use crate::keys::{KEY_FORMAT, KeyFile};
use crate::vault::{MAX_PLAIN_JSON, OwnerFile, VAULT_FILE, VAULT_FORMAT, VaultFile, versioned};
use crate::{Concern, Damage, SavesetState, Vault, VaultError};

impl Vault {
    /// Checks `vault.json`, keys, owners, manifests, tombstones, pins, lists of moved frames and copies of
    /// the catalog. What is in the packs [`Saveset::verify`](crate::Saveset::verify) checks.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    pub async fn check(&self) -> Result<Vec<Damage>, VaultError> {
        let mut damages = Damages::default();
        damages.note(VAULT_FILE, self.check_vault_file().await)?;
        let store = &self.0.store;
        for (name, _) in store.list("keys").await? {
            let path = format!("keys/{name}");
            damages.note(&path, self.check_key(&path).await)?;
        }
        for (name, _) in store.list("owners").await? {
            let path = format!("owners/{name}");
            let object = store.get(&path, MAX_PLAIN_JSON).await;
            let read = object.and_then(|o| versioned::<OwnerFile>(&path, &o, VAULT_FORMAT));
            damages.note(&path, read.map(drop))?;
        }
        for (id, state) in self.saveset_states().await? {
            let path = format!("manifests/{id}");
            let whole = match state {
                SavesetState::Tombstone(_) => Ok(()),
                SavesetState::Committed => self.open_saveset(id).await.map(drop),
                SavesetState::Damaged(what) => Err(VaultError::damaged(&path, what)),
            };
            if damages.note(&path, whole)? {
                damages.last_concerns(Concern::Saveset);
            }
        }
        for (name, _) in store.list("pins").await? {
            let path = format!("pins/{name}");
            let whole = match name.parse() {
                Ok(execution) => self.pin(execution).await.map(drop),
                Err(_) => self.compaction_pin().await.map(drop),
            };
            damages.note(&path, whole)?;
        }
        for list in self.move_lists().await? {
            let path = format!("moves/{list}");
            damages.note(&path, self.read_moves(list).await.map(drop))?;
        }
        for execution in self.catalogs().await? {
            let path = format!("catalog/{execution}");
            damages.note(&path, self.catalog(execution).await.map(drop))?;
        }
        Ok(damages.0)
    }

    async fn check_vault_file(&self) -> Result<(), VaultError> {
        let object = self.0.store.get(VAULT_FILE, MAX_PLAIN_JSON).await?;
        let found = VaultFile::read(&object)?.vault_id;
        match found == self.id() {
            true => Ok(()),
            false => Err(VaultError::damaged(
                VAULT_FILE,
                format!("it is of vault {found}"),
            )),
        }
    }

    /// Keys of other vaults are passed over, as they are when a vault is opened.
    async fn check_key(&self, path: &str) -> Result<(), VaultError> {
        let object = self.0.store.get(path, MAX_PLAIN_JSON).await?;
        let file: KeyFile = versioned(path, &object, KEY_FORMAT)?;
        let ours = path.ends_with(&self.0.keys.id().to_string());
        match ours && !self.0.keys.is_whole(&file) {
            true => Err(VaultError::damaged(
                path,
                "one of the two keys does not open it any more, or it is another vault's",
            )),
            false => Ok(()),
        }
    }
}

#[derive(Default)]
struct Damages(Vec<Damage>);

impl Damages {
    /// Whether it is a damage. What is not there any more was none.
    fn note(&mut self, path: &str, checked: Result<(), VaultError>) -> Result<bool, VaultError> {
        let error = match checked {
            Ok(()) | Err(VaultError::Missing { .. }) => return Ok(false),
            Err(error) => error,
        };
        let found = Found::by(error)?;
        self.0.push(Damage {
            object: path.to_owned(),
            frame: found.frame,
            what: found.what,
            concerns: Vec::new(),
        });
        Ok(true)
    }

    fn last_concerns(&mut self, concern: Concern) {
        if let Some(last) = self.0.last_mut() {
            last.concerns.push(concern);
        }
    }
}
