//! The end of a pack: fixed in size, so that one read of a suffix finds the footer.

use crate::{KeyId, PackId, VaultError};

/// Bytes of a trailer.
pub(crate) const TRAILER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"BSPACK\r\n";
pub(crate) const VERSION: u8 = 1;
const AES_256_GCM: u8 = 1;
const ZSTD: u8 = 1;

/// What stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Bytes of the sealed footer in front of it.
    pub(crate) footer: u32,
    pub(crate) frames: u32,
    /// Bytes of the whole object.
    pub(crate) object: u64,
    pub(crate) key: KeyId,
    pub(crate) pack: PackId,
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[0..4].copy_from_slice(&self.footer.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.frames.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.object.to_le_bytes());
        bytes[16..32].copy_from_slice(self.key.as_bytes());
        bytes[32..48].copy_from_slice(self.pack.as_bytes());
        bytes[48] = VERSION;
        bytes[49] = AES_256_GCM;
        bytes[50] = ZSTD;
        bytes[56..].copy_from_slice(MAGIC);
        bytes
    }

    /// Reads the last bytes of the pack at `path`.
    pub(crate) fn decode(path: &str, bytes: &[u8; TRAILER_BYTES]) -> Result<Self, VaultError> {
        if &bytes[56..] != MAGIC {
            return Err(VaultError::damaged(path, "it does not end as a pack does"));
        }
        if bytes[48] > VERSION {
            return Err(VaultError::NewerFormat {
                path: path.to_owned(),
                found: u64::from(bytes[48]),
                known: u64::from(VERSION),
            });
        }
        if bytes[48..56] != [VERSION, AES_256_GCM, ZSTD, 0, 0, 0, 0, 0] {
            return Err(VaultError::damaged(
                path,
                "its trailer names no known cipher",
            ));
        }
        Ok(Trailer {
            footer: u32::from_le_bytes(part(bytes, 0)),
            frames: u32::from_le_bytes(part(bytes, 4)),
            object: u64::from_le_bytes(part(bytes, 8)),
            key: KeyId::from_bytes(part(bytes, 16)),
            pack: PackId::from_bytes(part(bytes, 32)),
        })
    }
}

fn part<const N: usize>(bytes: &[u8; TRAILER_BYTES], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}
