//! The hash of a block's rows.

use crate::BlockHash;

/// Rows are hashed with zeros behind them up to a multiple of this. BLAKE3 goes through eight of its
/// chunks at once, and through a few odd ones one after the other: a heap block's rows, mostly a
/// little less than this, take a third of the time so. Their true length stands in the index.
pub const HASHED_TOGETHER: usize = 8192;

static ZEROS: [u8; HASHED_TOGETHER] = [0; HASHED_TOGETHER];

/// Takes the rows of one block in any pieces.
#[derive(Default)]
pub struct BlockHasher {
    hasher: blake3::Hasher,
    /// Bytes behind the last multiple of [`HASHED_TOGETHER`].
    odd: usize,
}

impl BlockHasher {
    /// The next bytes.
    pub fn update(&mut self, rows: &[u8]) {
        self.hasher.update(rows);
        self.odd = (self.odd + rows.len()) % HASHED_TOGETHER;
    }

    /// After the last one.
    pub fn finish(mut self) -> BlockHash {
        if self.odd > 0 {
            self.hasher.update(&ZEROS[self.odd..]);
        }
        kept(self.hasher.finalize())
    }
}

/// The hash of the rows that a buffer holds from `start` on; quick where it has room for the zeros. The
/// buffer is as before in the end.
pub(crate) fn hash_in_place(buffer: &mut Vec<u8>, start: usize) -> BlockHash {
    let end = buffer.len();
    let padded = start + (end - start).next_multiple_of(HASHED_TOGETHER);
    if padded > buffer.capacity() {
        let mut hasher = BlockHasher::default();
        hasher.update(&buffer[start..]);
        return hasher.finish();
    }
    buffer.resize(padded, 0);
    let hash = blake3::hash(&buffer[start..]);
    buffer.truncate(end);
    kept(hash)
}

fn kept(hash: blake3::Hash) -> BlockHash {
    let mut kept = BlockHash::default();
    kept.copy_from_slice(&hash.as_bytes()[..16]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_hash_is_of_the_rows_and_zeros_however_they_come(
            length in prop_oneof![0_usize..20_000, Just(8192), Just(16_384)],
            start in 0_usize..100,
            cut in any::<prop::sample::Index>(),
            room in any::<bool>(),
        ) {
            let mut buffer: Vec<u8> = (0..start + length).map(|i| (i % 251) as u8).collect();
            buffer.shrink_to_fit();
            if room {
                buffer.reserve(HASHED_TOGETHER);
            }
            let before = buffer.clone();
            let rows = &before[start..];
            let mut padded = rows.to_vec();
            padded.resize(length.div_ceil(8192) * 8192, 0);
            let expected = blake3::hash(&padded);
            prop_assert_eq!(&hash_in_place(&mut buffer, start)[..], &expected.as_bytes()[..16]);
            prop_assert_eq!(&buffer, &before);
            let mut pieces = BlockHasher::default();
            let (one, other) = rows.split_at(cut.index(length + 1));
            pieces.update(one);
            pieces.update(other);
            prop_assert_eq!(&pieces.finish()[..], &expected.as_bytes()[..16]);
        }
    }
}
