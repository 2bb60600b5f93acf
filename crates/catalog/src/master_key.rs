//! The key under which the catalog's secrets are sealed.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::CatalogError;
use crate::files::{failed, make_private_directory, mode_of, sync_directory};

/// 32 random bytes. They never leave this crate, and `Debug` does not show them.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// From 64 hex digits, or 32 bytes in base64, as an environment variable holds them.
    ///
    /// # Errors
    /// [`CatalogError::MasterKeyText`]; the text is not repeated.
    pub fn from_text(text: &SecretString) -> Result<Self, CatalogError> {
        parse(text.expose_secret()).ok_or(CatalogError::MasterKeyText { from: None })
    }

    /// From a file of mode 0600, made with a new key where there is none.
    ///
    /// # Errors
    /// [`CatalogError::MasterKeyMode`] if others can read the file,
    /// [`CatalogError::MasterKeyText`] if it holds no key, [`CatalogError::File`].
    pub fn from_file_or_make(path: &Path) -> Result<Self, CatalogError> {
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => {
                let mode = mode_of(path)?;
                if mode & 0o077 != 0 {
                    return Err(CatalogError::MasterKeyMode {
                        path: path.to_owned(),
                        mode,
                    });
                }
                parse(&text).ok_or_else(|| CatalogError::MasterKeyText {
                    from: Some(path.to_owned()),
                })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(path)?;
                MasterKey::from_file_or_make(path)
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(CatalogError::MasterKeyText {
                    from: Some(path.to_owned()),
                })
            }
            Err(error) => Err(failed("read the master key", path)(error)),
        }
    }

    /// A key for one purpose, so that no two purposes share one.
    pub(crate) fn derive(&self, purpose: &'static str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(purpose, self.0.as_slice()))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(not shown)")
    }
}

fn parse(text: &str) -> Option<MasterKey> {
    let text = text.trim();
    let bytes = match text.len() {
        64 => hex::decode(text).ok(),
        44 => STANDARD.decode(text).ok(),
        43 => URL_SAFE_NO_PAD
            .decode(text.replace('+', "-").replace('/', "_"))
            .ok(),
        _ => None,
    };
    let bytes = Zeroizing::new(bytes?);
    let key: [u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(MasterKey(Zeroizing::new(key)))
}

/// Puts a new key there, whole or not at all: a crash must not leave half of one, and of two
/// servers that start together one key must win.
fn make(path: &Path) -> Result<(), CatalogError> {
    let directory: PathBuf = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    make_private_directory(&directory)?;
    let failed = failed("make the master key", path);
    let mut key = Zeroizing::new([0u8; 32]);
    aws_lc_rs::rand::fill(key.as_mut_slice())
        .map_err(|_| CatalogError::Crypto("make a master key"))?;
    let text = Zeroizing::new(format!(
        "{}\n",
        *Zeroizing::new(hex::encode(key.as_slice()))
    ));
    let unfinished = directory.join(format!("master.key.new-{}", uuid::Uuid::new_v4()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| match std::fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
    let removed = std::fs::remove_file(&unfinished);
    written.and(removed).map_err(failed)?;
    sync_directory(&directory)
}
