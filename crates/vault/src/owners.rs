//! Who owns a vault, and how it changes hands.

use std::sync::atomic::Ordering;

use crate::store::PutNew;
use crate::vault::{MAX_PLAIN_JSON, OwnerFile, VAULT_FORMAT, json, number, versioned};
use crate::{OwnerId, Vault, VaultError};

/// The server that owns a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its identity.
    pub id: OwnerId,
    /// Its number below `owners/`: one more than that of the owner before.
    pub number: u64,
}

impl Vault {
    /// The vault's owner; `None` if it never had one.
    ///
    /// # Errors
    /// [`Damaged`](VaultError::Damaged), or what the store says.
    pub async fn owner(&self) -> Result<Option<Owner>, VaultError> {
        let store = &self.0.store;
        let names = store.list("owners").await?;
        let Some(highest) = names.iter().filter_map(|(name, _)| number(name)).max() else {
            return Ok(None);
        };
        let path = format!("owners/{highest}");
        let file: OwnerFile = versioned(
            &path,
            &store.get(&path, MAX_PLAIN_JSON).await?,
            VAULT_FORMAT,
        )?;
        Ok(Some(Owner {
            id: file.owner,
            number: highest,
        }))
    }

    /// Makes `owner` the vault's owner, whoever it was before: that server can then only read. Its
    /// runs that are under way can still commit until each is [declared
    /// dead](Self::declare_dead).
    ///
    /// # Errors
    /// [`OwnedByAnother`](VaultError::OwnedByAnother) if somebody else took it at the same moment.
    pub async fn take_over(&self, owner: &OwnerId) -> Result<(), VaultError> {
        let next = match self.owner().await? {
            Some(found) if found.id != *owner => found.number + 1,
            _ => return self.own(owner).await,
        };
        let path = format!("owners/{next}");
        let file = json(&path, &OwnerFile::of(owner))?;
        let small = self.0.store.limits().small;
        if let PutNew::Other(found) = self.0.store.put_new(&path, file, small).await? {
            let found: OwnerFile = versioned(&path, &found, VAULT_FORMAT)?;
            if found.owner != *owner {
                return Err(VaultError::OwnedByAnother {
                    owner: found.owner.to_string(),
                    number: next,
                });
            }
        }
        self.0.owned.store(true, Ordering::Release);
        Ok(())
    }
}
