//! Sealed objects: manifests, tombstones, pins, catalog rows and lists of moved frames.

use aws_lc_rs::aead::Aad;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::VaultError;
use crate::frame::{HASH_BYTES, TAG_BYTES, aead_key, cannot_seal};
use crate::ids::random;
use crate::keys::{Keys, zero_nonce};

/// Bytes in front of what is encrypted.
pub(crate) const HEADER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"BSSEAL\r\n";
pub(crate) const VERSION: u8 = 1;
const AES_256_GCM: u8 = 1;
const ZSTD: u8 = 1;
/// The level is part of no promise. A manifest is small and there for long: 9 takes 40 ms for a megabyte of
/// it, and a tenth less room than 3.
const LEVEL: i32 = 9;

/// What a sealed object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest = 1,
    Tombstone = 2,
    Pin = 3,
    Catalog = 4,
    Moves = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        let all = [
            Kind::Manifest,
            Kind::Tombstone,
            Kind::Pin,
            Kind::Catalog,
            Kind::Moves,
        ];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Manifest => "manifest",
            Kind::Tombstone => "tombstone",
            Kind::Pin => "pin",
            Kind::Catalog => "copy of the catalog",
            Kind::Moves => "list of moved frames",
        }
    }
}

/// Seals `plain` for its place in the vault.
pub(crate) fn seal(keys: &Keys, kind: Kind, path: &str, plain: &[u8]) -> Result<Bytes, VaultError> {
    let length = u32::try_from(plain.len()).map_err(|_| VaultError::TooLarge {
        path: path.to_owned(),
        bytes: plain.len() as u64,
        limit: u64::from(u32::MAX),
    })?;
    let seal_id: [u8; 16] = random()?;
    let packed = zstd::bulk::compress(plain, LEVEL).map_err(|error| VaultError::Internal {
        doing: "compress",
        why: error.to_string(),
    })?;
    let mut object = Vec::with_capacity(HEADER_BYTES + HASH_BYTES + packed.len() + TAG_BYTES);
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&[VERSION, kind as u8, AES_256_GCM, ZSTD]);
    object.extend_from_slice(&length.to_le_bytes());
    object.extend_from_slice(keys.id().as_bytes());
    object.extend_from_slice(&seal_id);
    object.extend_from_slice(keys.vault().as_bytes());
    let aad = additional_data(&object, path);
    object.extend_from_slice(blake3::hash(plain).as_bytes());
    object.extend_from_slice(&packed);
    let key = aead_key(&keys.seal_key(&seal_id))?;
    let tag = key
        .seal_in_place_separate_tag(zero_nonce(), Aad::from(aad), &mut object[HEADER_BYTES..])
        .map_err(|_| cannot_seal())?;
    object.extend_from_slice(tag.as_ref());
    Ok(object.into())
}

/// Seals a value as JSON.
pub(crate) fn seal_json(
    keys: &Keys,
    kind: Kind,
    path: &str,
    value: &impl Serialize,
) -> Result<Bytes, VaultError> {
    let plain = serde_json::to_vec(value).map_err(|error| VaultError::Internal {
        doing: "write JSON",
        why: format!("{path}: {error}"),
    })?;
    seal(keys, kind, path, &plain)
}

/// Opens what lies at `path`: its kind, and its bytes, at most `limit` of them.
pub(crate) fn open(
    keys: &Keys,
    path: &str,
    object: &[u8],
    limit: u64,
) -> Result<(Kind, Vec<u8>), VaultError> {
    let damaged = |what: &str| VaultError::damaged(path, what);
    let Some((header, sealed)) = object.split_at_checked(HEADER_BYTES) else {
        return Err(damaged("it is cut short"));
    };
    if &header[..8] != MAGIC {
        return Err(damaged("it does not begin as a sealed object does"));
    }
    if header[8] > VERSION {
        return Err(VaultError::NewerFormat {
            path: path.to_owned(),
            found: u64::from(header[8]),
            known: u64::from(VERSION),
        });
    }
    let kind = Kind::of(header[9]).ok_or_else(|| damaged("it is of no known kind"))?;
    if header[8] != VERSION || header[10..12] != [AES_256_GCM, ZSTD] {
        return Err(damaged("its header names no known cipher"));
    }
    let length = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    if u64::from(length) > limit {
        return Err(VaultError::TooLarge {
            path: path.to_owned(),
            bytes: u64::from(length),
            limit,
        });
    }
    if header[16..32] != *keys.id().as_bytes() || header[48..] != *keys.vault().as_bytes() {
        return Err(damaged("it belongs to another vault or another key"));
    }
    let mut seal_id = [0; 16];
    seal_id.copy_from_slice(&header[32..48]);
    let key = aead_key(&keys.seal_key(&seal_id))?;
    let mut sealed = sealed.to_vec();
    let aad = Aad::from(additional_data(header, path));
    let opened = key.open_in_place(zero_nonce(), aad, &mut sealed);
    let opened = opened.map_err(|_| damaged("its seal is broken"))?;
    let Some((hash, packed)) = opened.split_at_checked(HASH_BYTES) else {
        return Err(damaged("it is cut short"));
    };
    let plain = zstd::bulk::decompress(packed, length as usize)
        .map_err(|error| damaged(&format!("it cannot be unpacked: {error}")))?;
    if plain.len() != length as usize || blake3::hash(&plain).as_bytes() != hash {
        return Err(damaged("its content is not what was written (BLAKE3)"));
    }
    Ok((kind, plain))
}

/// Opens what lies at `path`, which must be of that kind.
pub(crate) fn open_kind(
    keys: &Keys,
    kind: Kind,
    path: &str,
    object: &[u8],
    limit: u64,
) -> Result<Vec<u8>, VaultError> {
    let (found, plain) = open(keys, path, object, limit)?;
    match found == kind {
        true => Ok(plain),
        false => {
            let what = format!("it is a {}, not a {}", found.name(), kind.name());
            Err(VaultError::damaged(path, what))
        }
    }
}

/// The same, as JSON.
pub(crate) fn open_json<T: DeserializeOwned>(
    keys: &Keys,
    kind: Kind,
    path: &str,
    object: &[u8],
    limit: u64,
) -> Result<T, VaultError> {
    parse(path, &open_kind(keys, kind, path, object, limit)?)
}

pub(crate) fn parse<T: DeserializeOwned>(path: &str, plain: &[u8]) -> Result<T, VaultError> {
    serde_json::from_slice(plain)
        .map_err(|error| VaultError::damaged(path, format!("its JSON cannot be read: {error}")))
}

fn additional_data(header: &[u8], path: &str) -> Vec<u8> {
    [header, path.as_bytes()].concat()
}
