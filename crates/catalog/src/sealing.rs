//! Secrets in the catalog: AES-256-GCM under a key made from the master key.
//!
//! The additional data names the place where a value belongs, so that a sealed value that was
//! copied to another row or another name does not open there.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use model::SecretString;
use zeroize::Zeroizing;

use crate::{CatalogError, MasterKey};

const PURPOSE: &str = "backstay 2026 catalog secrets v1";

/// Where a sealed value belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) name: &'a str,
}

impl Place<'_> {
    /// With lengths, so that no two places are written alike.
    fn additional_data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for part in [self.table, self.owner, self.name] {
            data.extend_from_slice(&(part.len() as u64).to_le_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// Seals and opens.
pub(crate) struct Sealer {
    key: RandomizedNonceKey,
}

impl Sealer {
    pub(crate) fn new(master: &MasterKey) -> Result<Self, CatalogError> {
        let key = master.derive(PURPOSE);
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())
            .map_err(|_| CatalogError::Crypto("take the master key"))?;
        Ok(Sealer { key })
    }

    /// Nonce, ciphertext and tag in hex.
    pub(crate) fn seal(&self, place: Place<'_>, secret: &str) -> Result<String, CatalogError> {
        let mut text = Vec::with_capacity(secret.len() + AES_256_GCM.tag_len());
        text.extend_from_slice(secret.as_bytes());
        let mut text = Zeroizing::new(text);
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(place.additional_data()), &mut *text)
            .map_err(|_| CatalogError::Crypto("seal a secret"))?;
        Ok(format!(
            "{}{}",
            hex::encode(nonce.as_ref()),
            hex::encode(text.as_slice())
        ))
    }

    /// What was sealed at that place.
    pub(crate) fn open(
        &self,
        place: Place<'_>,
        sealed: &str,
    ) -> Result<SecretString, CatalogError> {
        self.try_open(place, sealed)
            .ok_or_else(|| CatalogError::SealBroken {
                owner: place.owner.to_owned(),
                name: place.name.to_owned(),
            })
    }

    fn try_open(&self, place: Place<'_>, sealed: &str) -> Option<SecretString> {
        let mut bytes = Zeroizing::new(hex::decode(sealed).ok()?);
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(place.additional_data());
        let plain = self.key.open_in_place(nonce, aad, text).ok()?;
        Some(SecretString::from(std::str::from_utf8(plain).ok()?))
    }
}
