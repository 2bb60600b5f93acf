//! Frames: the unit that is compressed, sealed, read and checked.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use crate::{PackId, VaultError, VaultId};

/// A pack is closed once it holds this many bytes: 32 MiB.
pub const PACK_BYTES: usize = 32 << 20;

/// Frames of one pack at most, so that its footer stays small.
pub(crate) const MAX_FRAMES: u32 = 16_384;

/// The level is part of no promise: any zstd reader reads any level.
pub(crate) const ZSTD_LEVEL: i32 = 1;

/// Bytes of the AEAD's tag.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of the BLAKE3 in front of a frame's compressed bytes.
pub(crate) const HASH_BYTES: usize = 32;

/// Bytes in front of a frame's compressed bytes: the BLAKE3 of its content, and its [`Packing`].
pub(crate) const FRONT_BYTES: usize = HASH_BYTES + 1;

/// The number that the footer of a pack is sealed under; no frame has it.
pub(crate) const FOOTER_NUMBER: u32 = u32::MAX;

/// Where a frame came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FramePlace {
    /// In which pack.
    pub pack: PackId,
    /// Its number there, from 0.
    pub frame: u32,
    /// The bytes that it takes there.
    pub stored: u32,
}

/// Neighbouring frames of one pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrameRun {
    /// In which pack.
    pub pack: PackId,
    /// The first one's number.
    pub first: u32,
    /// How many, 1 or more.
    pub count: u32,
}

impl FrameRun {
    /// What is left of it behind its first `count` frames.
    pub(crate) fn after(self, count: u32) -> Option<FrameRun> {
        let left = self.count.checked_sub(count).filter(|left| *left > 0)?;
        Some(FrameRun {
            first: self.first + count,
            count: left,
            ..self
        })
    }
}

/// Frames in their order as few runs; a run never leaves its pack.
pub fn runs(places: &[FramePlace]) -> Vec<FrameRun> {
    let mut runs = Vec::new();
    for place in places {
        add_frame(&mut runs, place.pack, place.frame);
    }
    runs
}

/// Adds one more frame to runs: to the last of them where it follows it.
pub(crate) fn add_frame(runs: &mut Vec<FrameRun>, pack: PackId, frame: u32) {
    match runs.last_mut() {
        Some(run) if run.pack == pack && run.first + run.count == frame => run.count += 1,
        _ => runs.push(FrameRun {
            pack,
            first: frame,
            count: 1,
        }),
    }
}

/// What the sealed thing is; part of the additional data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Frame = 1,
    Footer = 2,
}

/// What is compressed in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// The content as it is.
    AsIs = 0,
    /// The content's rows [laid out by columns](crate::columns).
    ByColumns = 1,
}

impl Packing {
    /// `None`: a later format's.
    pub(crate) fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Packing::AsIs),
            1 => Some(Packing::ByColumns),
            _ => None,
        }
    }
}

/// The key of one pack, and where it belongs.
pub(crate) struct PackKey {
    key: LessSafeKey,
    vault: VaultId,
    pack: PackId,
}

impl PackKey {
    pub(crate) fn new(key: &[u8; 32], vault: VaultId, pack: PackId) -> Result<Self, VaultError> {
        Ok(PackKey {
            key: aead_key(key)?,
            vault,
            pack,
        })
    }

    /// Seals the bytes of `buffer` from `start` on in place and appends the tag.
    pub(crate) fn seal(
        &self,
        place: &Bound,
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), VaultError> {
        let aad = Aad::from(place.additional_data(self.vault, self.pack));
        let tag = self
            .key
            .seal_in_place_separate_tag(place.nonce(), aad, &mut buffer[start..])
            .map_err(|_| cannot_seal())?;
        buffer.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens `sealed` into `plain`, which is resized. `false`: not what was sealed.
    pub(crate) fn open(&self, place: &Bound, sealed: &[u8], plain: &mut Vec<u8>) -> bool {
        let Some(length) = sealed.len().checked_sub(TAG_BYTES) else {
            return false;
        };
        let (body, tag) = sealed.split_at(length);
        plain.resize(length, 0);
        let aad = Aad::from(place.additional_data(self.vault, self.pack));
        self.key
            .open_separate_gather(place.nonce(), aad, body, tag, plain)
            .is_ok()
    }
}

/// What binds a sealed part to its place in a pack.
pub(crate) struct Bound<'a> {
    pub(crate) part: Part,
    pub(crate) number: u32,
    /// Bytes of the plaintext, unpacked.
    pub(crate) plain: u32,
    /// The pack's trailer, for the footer; else empty.
    pub(crate) trailer: &'a [u8],
}

impl Bound<'_> {
    pub(crate) fn frame(number: u32, plain: u32) -> Self {
        Bound {
            part: Part::Frame,
            number,
            plain,
            trailer: &[],
        }
    }

    fn additional_data(&self, vault: VaultId, pack: PackId) -> Vec<u8> {
        let mut data = Vec::with_capacity(41 + self.trailer.len());
        data.extend_from_slice(vault.as_bytes());
        data.extend_from_slice(pack.as_bytes());
        data.extend_from_slice(&self.number.to_le_bytes());
        data.push(self.part as u8);
        data.extend_from_slice(&self.plain.to_le_bytes());
        data.extend_from_slice(self.trailer);
        data
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.number.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

pub(crate) fn aead_key(key: &[u8; 32]) -> Result<LessSafeKey, VaultError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| cannot_seal())?;
    Ok(LessSafeKey::new(key))
}

pub(crate) fn cannot_seal() -> VaultError {
    VaultError::Internal {
        doing: "seal",
        why: "the cipher refused".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_frames_are_one_run_and_a_run_never_leaves_its_pack() {
        let place = |pack: u8, frame| FramePlace {
            pack: PackId::from_bytes([pack; 16]),
            frame,
            stored: 1,
        };
        let run = |pack: u8, first, count| FrameRun {
            pack: PackId::from_bytes([pack; 16]),
            first,
            count,
        };
        assert_eq!(runs(&[]), []);
        let places = [
            place(1, 6),
            place(1, 7),
            place(2, 8),
            place(2, 0),
            place(2, 1),
        ];
        assert_eq!(runs(&places), [run(1, 6, 2), run(2, 8, 1), run(2, 0, 2)]);
    }
}
