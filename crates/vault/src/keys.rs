//! The keys of a vault: one data key, wrapped by the site's key and by its recovery key.

use std::fmt;

use aws_lc_rs::aead::{Aad, Nonce};
use model::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::frame::{PackKey, aead_key, cannot_seal};
use crate::ids::random;
use crate::{KeyId, PackId, RecoveryKey, VaultError, VaultId};

const PACK_CONTEXT: &str = "Backstay vault format 1: key of a pack";
const SEAL_CONTEXT: &str = "Backstay vault format 1: key of a sealed object";
const CHECK_CONTEXT: &str = "Backstay vault format 1: check of the wrapped data key";
const WRAP_CONTEXT: [(&str, &str); 2] = [
    (
        "site key",
        "Backstay vault format 1: data key wrapped by the site key",
    ),
    (
        "recovery key",
        "Backstay vault format 1: data key wrapped by the recovery key",
    ),
];

/// The key that a server keeps, sealed, for a site. It opens the site's vault.
#[derive(Clone)]
pub struct SiteKey(Zeroizing<[u8; 32]>);

/// A text that is no site key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no site key: it must be 64 hexadecimal digits")]
pub struct SiteKeyError;

impl SiteKey {
    /// A new one.
    ///
    /// # Errors
    /// Only when the system gives no random bytes.
    pub fn generate() -> Result<Self, VaultError> {
        Ok(SiteKey(Zeroizing::new(random()?)))
    }

    /// Of those bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        SiteKey(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// When it is anything else; the text is not repeated.
    pub fn from_text(text: &str) -> Result<Self, SiteKeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), &mut *bytes).map_err(|_| SiteKeyError)?;
        Ok(SiteKey(bytes))
    }

    /// As 64 hexadecimal digits.
    pub fn to_text(&self) -> SecretString {
        hex::encode(*self.0).into()
    }
}

impl fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteKey(…)")
    }
}

/// What opens a vault.
#[derive(Debug, Clone, Copy)]
pub enum Unlock<'a> {
    /// The key that the server keeps.
    SiteKey(&'a SiteKey),
    /// The key that was shown when the site was made.
    RecoveryKey(&'a RecoveryKey),
}

impl Unlock<'_> {
    fn secret(&self) -> &[u8; 32] {
        match self {
            Unlock::SiteKey(key) => key.expose(),
            Unlock::RecoveryKey(key) => key.expose(),
        }
    }

    fn wrap(&self) -> usize {
        match self {
            Unlock::SiteKey(_) => 0,
            Unlock::RecoveryKey(_) => 1,
        }
    }
}

/// `keys/<key id>` as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyFile {
    pub(crate) format: u64,
    pub(crate) vault_id: VaultId,
    pub(crate) key_id: KeyId,
    cipher: String,
    by_site_key: String,
    by_recovery_key: String,
    /// Whoever opens one of the two sees by it whether the other one is whole.
    check: String,
}

pub(crate) const KEY_FORMAT: u64 = 1;

/// The data key, unwrapped.
pub(crate) struct Keys {
    vault: VaultId,
    id: KeyId,
    data: Zeroizing<[u8; 32]>,
}

impl Keys {
    pub(crate) fn generate(vault: VaultId) -> Result<Self, VaultError> {
        Ok(Keys {
            vault,
            id: KeyId::from_bytes(random()?),
            data: Zeroizing::new(random()?),
        })
    }

    pub(crate) fn vault(&self) -> VaultId {
        self.vault
    }

    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Each pack has its own key, so its frames' numbers can be their nonces.
    pub(crate) fn pack_key(&self, pack: PackId) -> Result<PackKey, VaultError> {
        let key = derive(PACK_CONTEXT, &[&*self.data, pack.as_bytes()]);
        PackKey::new(&key, self.vault, pack)
    }

    /// Each sealed object has its own key, of a random id, so its nonce can be zero.
    pub(crate) fn seal_key(&self, seal: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        derive(SEAL_CONTEXT, &[&*self.data, seal])
    }

    /// The data key wrapped twice.
    pub(crate) fn wrap(
        &self,
        site: &SiteKey,
        recovery: &RecoveryKey,
    ) -> Result<KeyFile, VaultError> {
        let mut file = KeyFile {
            format: KEY_FORMAT,
            vault_id: self.vault,
            key_id: self.id,
            cipher: "AES-256-GCM".to_owned(),
            by_site_key: self.wrap_by(Unlock::SiteKey(site))?,
            by_recovery_key: self.wrap_by(Unlock::RecoveryKey(recovery))?,
            check: String::new(),
        };
        file.check = self.check_of(&file);
        Ok(file)
    }

    fn check_of(&self, file: &KeyFile) -> String {
        let wrapped = [file.by_site_key.as_bytes(), file.by_recovery_key.as_bytes()];
        let check = derive(CHECK_CONTEXT, &[&*self.data, wrapped[0], wrapped[1]]);
        hex::encode(*check)
    }

    /// Whether both keys still open the data key: one of them shows it of the other.
    pub(crate) fn is_whole(&self, file: &KeyFile) -> bool {
        (file.vault_id, file.key_id) == (self.vault, self.id)
            && file.cipher == "AES-256-GCM"
            && file.check == self.check_of(file)
    }

    fn wrap_by(&self, by: Unlock<'_>) -> Result<String, VaultError> {
        let key = aead_key(&wrapping_key(by, self.vault, self.id))?;
        let mut sealed = Zeroizing::new(self.data.to_vec());
        let tag = key
            .seal_in_place_separate_tag(
                zero_nonce(),
                Aad::from(bound(self.vault, self.id)),
                &mut sealed,
            )
            .map_err(|_| cannot_seal())?;
        Ok(hex::encode(&*sealed) + &hex::encode(tag))
    }

    pub(crate) fn unwrap(path: &str, file: &KeyFile, by: Unlock<'_>) -> Result<Self, VaultError> {
        if file.cipher != "AES-256-GCM" {
            return Err(VaultError::damaged(
                path,
                format!(
                    "it names the cipher {:?}, which no release has",
                    file.cipher
                ),
            ));
        }
        let wrapped = [&file.by_site_key, &file.by_recovery_key][by.wrap()];
        let not_hex = || VaultError::damaged(path, "a wrapped key is not lower-case hexadecimal");
        if wrapped.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(not_hex());
        }
        let mut sealed = Zeroizing::new(hex::decode(wrapped).map_err(|_| not_hex())?);
        let key = aead_key(&wrapping_key(by, file.vault_id, file.key_id))?;
        let aad = Aad::from(bound(file.vault_id, file.key_id));
        let opened = key.open_in_place(zero_nonce(), aad, &mut sealed);
        let plain = opened.map_err(|_| VaultError::WrongKey {
            by: WRAP_CONTEXT[by.wrap()].0,
            path: path.to_owned(),
        })?;
        let data: [u8; 32] = (&*plain)
            .try_into()
            .map_err(|_| VaultError::damaged(path, "a wrapped key is not 32 bytes long"))?;
        Ok(Keys {
            vault: file.vault_id,
            id: file.key_id,
            data: Zeroizing::new(data),
        })
    }
}

fn derive(context: &str, material: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in material {
        hasher.update(part);
    }
    let key = Zeroizing::new(*hasher.finalize().as_bytes());
    hasher.reset();
    key
}

/// A wrapping key is used once: a data key's id is random.
fn wrapping_key(by: Unlock<'_>, vault: VaultId, key: KeyId) -> Zeroizing<[u8; 32]> {
    let context = WRAP_CONTEXT[by.wrap()].1;
    derive(context, &[by.secret(), vault.as_bytes(), key.as_bytes()])
}

fn bound(vault: VaultId, key: KeyId) -> [u8; 32] {
    let mut data = [0; 32];
    data[..16].copy_from_slice(vault.as_bytes());
    data[16..].copy_from_slice(key.as_bytes());
    data
}

pub(crate) fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ExposeSecret;

    #[test]
    fn both_keys_open_the_data_key_and_no_other_does() {
        let vault = VaultId::from_bytes([7; 16]);
        let keys = Keys::generate(vault).unwrap();
        let site = SiteKey::generate().unwrap();
        let recovery = RecoveryKey::generate().unwrap();
        let file = keys.wrap(&site, &recovery).unwrap();
        for by in [Unlock::SiteKey(&site), Unlock::RecoveryKey(&recovery)] {
            let again = Keys::unwrap("keys/x", &file, by).unwrap();
            assert_eq!(*again.data, *keys.data);
        }
        // The same bytes as the other kind of key open nothing.
        let swapped = SiteKey::from_bytes(*recovery.expose());
        let other = RecoveryKey::generate().unwrap();
        for by in [Unlock::SiteKey(&swapped), Unlock::RecoveryKey(&other)] {
            let error = Keys::unwrap("keys/x", &file, by).err().unwrap();
            assert!(matches!(error, VaultError::WrongKey { .. }), "{error}");
            assert!(error.to_string().contains("keys/x"));
        }
    }

    #[test]
    fn a_site_key_reads_back_and_is_never_printed() {
        let key = SiteKey::generate().unwrap();
        let text = key.to_text();
        let again = SiteKey::from_text(text.expose_secret()).unwrap();
        assert_eq!(again.expose(), key.expose());
        assert!(!format!("{key:?}").contains(text.expose_secret()));
        assert_eq!(SiteKey::from_text("12").err(), Some(SiteKeyError));
    }
}
