//! Ids of the vault's own things.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::VaultError;

/// Fills bytes from the system's random numbers.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| VaultError::Internal {
        doing: "take random bytes",
        why: "the system gives none".to_owned(),
    })?;
    Ok(bytes)
}

/// A text that is not the hexadecimal form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: it must be {digits} lower-case hexadecimal digits")]
pub struct HexError {
    what: &'static str,
    text: String,
    digits: usize,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Of those bytes.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                $name(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                let mut bytes = [0; $bytes];
                let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
                match hex::decode_to_slice(text, &mut bytes) {
                    Ok(()) if lower => Ok($name(bytes)),
                    _ => Err(HexError { what: $what, text: text.to_owned(), digits: $bytes * 2 }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = HexError;

            fn try_from(text: String) -> Result<Self, HexError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

hex_id!(
    /// A vault: random, made with it.
    VaultId, 16, "vault id"
);
hex_id!(
    /// The data key of a vault, by name.
    KeyId, 16, "key id"
);
hex_id!(
    /// A pack: the first 16 digits are its attempt's [`PackPrefix`], the rest is random.
    PackId, 16, "pack id"
);
hex_id!(
    /// What the packs of one attempt have in common; it stands in the attempt's pin.
    PackPrefix, 8, "pack prefix"
);
hex_id!(
    /// BLAKE3 of some content, unpacked.
    ContentHash, 32, "BLAKE3 hash"
);

impl ContentHash {
    /// Of bytes that are there as a whole.
    pub fn of(bytes: &[u8]) -> Self {
        ContentHash(*blake3::hash(bytes).as_bytes())
    }
}

impl From<blake3::Hash> for ContentHash {
    fn from(hash: blake3::Hash) -> Self {
        ContentHash(*hash.as_bytes())
    }
}

impl PackPrefix {
    /// A new one.
    pub(crate) fn generate() -> Result<Self, VaultError> {
        Ok(PackPrefix(random()?))
    }
}

impl PackId {
    /// A new one of that attempt.
    pub(crate) fn generate(prefix: PackPrefix) -> Result<Self, VaultError> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&prefix.0);
        bytes[8..].copy_from_slice(&random::<8>()?);
        Ok(PackId(bytes))
    }

    /// The attempt that wrote it.
    pub fn prefix(self) -> PackPrefix {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[..8]);
        PackPrefix(bytes)
    }

    /// Where it is: `packs/<its last two digits>/<all of them>`.
    pub fn path(self) -> String {
        format!("packs/{:02x}/{self}", self.0[15])
    }
}

/// The identity of a server: one owns a vault at a time. 1 to 200 printable characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OwnerId(String);

/// A text that is no server's identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no server's identity: it must be 1 to 200 characters without control characters")]
pub struct OwnerIdError(String);

impl OwnerId {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OwnerId {
    type Err = OwnerIdError;

    fn from_str(text: &str) -> Result<Self, OwnerIdError> {
        let good = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if good {
            Ok(OwnerId(text.to_owned()))
        } else {
            Err(OwnerIdError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for OwnerId {
    type Error = OwnerIdError;

    fn try_from(text: String) -> Result<Self, OwnerIdError> {
        text.parse()
    }
}

impl From<OwnerId> for String {
    fn from(id: OwnerId) -> String {
        id.0
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_lies_below_its_last_two_digits_and_knows_its_attempt() {
        let id: PackId = "00112233445566778899aabbccddeeff".parse().unwrap();
        assert_eq!(id.path(), "packs/ff/00112233445566778899aabbccddeeff");
        assert_eq!(id.prefix().to_string(), "0011223344556677");
    }

    #[test]
    fn an_id_has_one_spelling() {
        assert!(
            "00112233445566778899AABBCCDDEEFF"
                .parse::<PackId>()
                .is_err()
        );
        assert!("0011".parse::<PackId>().is_err());
    }

    #[test]
    fn an_owner_is_named_in_plain_characters() {
        assert!("node-1".parse::<OwnerId>().is_ok());
        for bad in ["", "a\nb", &"x".repeat(201)] {
            assert!(bad.parse::<OwnerId>().is_err(), "{bad:?}");
        }
    }
}
