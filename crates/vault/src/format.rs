//! The version of the format.

use crate::{fate, keys, manifest, moves, seal, trailer, vault};

/// The newest version of the format; every release reads all up to it. Whoever raises the version that
/// one kind of object carries raises this one to it, writes the page (`docs/saveset-format.md`), and
/// adds a golden vault (`testdata/README.md`): a test asks for it.
pub const FORMAT: u64 = 1;

const _: () = {
    let carried = [
        vault::VAULT_FORMAT,
        keys::KEY_FORMAT,
        manifest::MANIFEST_FORMAT,
        fate::TOMBSTONE_FORMAT,
        moves::MOVES_FORMAT,
        seal::VERSION as u64,
        trailer::VERSION as u64,
    ];
    let mut place = 0;
    let mut newest = 0;
    while place < carried.len() {
        if carried[place] > newest {
            newest = carried[place];
        }
        place += 1;
    }
    assert!(
        newest == FORMAT,
        "FORMAT is the newest version that an object carries"
    );
};
