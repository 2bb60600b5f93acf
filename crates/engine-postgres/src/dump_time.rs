//! The time in the head of pg_dump's custom format. It is the one thing in a dump of an unchanged schema
//! that is another each time: without it a DELTA finds the dictionary as its base has it, and stores it
//! once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: &[u8; 5] = b"PGDMP";

/// Magic, version (three bytes), bytes of a number, bytes of an offset, format.
const FRONT: usize = 11;

/// Format `custom`.
const CUSTOM: u8 = 1;

/// From this version of the format on the compression is one byte; a number before.
const SHORT_COMPRESSION: (u8, u8) = (1, 15);

/// Seconds, minutes, hours, day, month (from 0), years since 1900, daylight saving: the beginning of 2000.
const FIXED: [u8; 7] = [0, 0, 0, 1, 0, 100, 0];

/// Puts a fixed time into a dump. What is not known to be one is left as it is.
pub(crate) fn fix(dump: &File) -> io::Result<()> {
    let mut head = [0; FRONT];
    if dump.metadata()?.len() < FRONT as u64 {
        return Ok(());
    }
    dump.read_exact_at(&mut head, 0)?;
    match time_at(&head) {
        Some((at, number)) => dump.write_all_at(&fixed(number), at),
        None => Ok(()),
    }
}

/// Where the time begins, and the bytes of a number.
fn time_at(head: &[u8; FRONT]) -> Option<(u64, u8)> {
    let [front @ .., major, minor, _, number, _, format] = head;
    if front != MAGIC || *format != CUSTOM || !(1..=8).contains(number) {
        return None;
    }
    let compression = match (*major, *minor) >= SHORT_COMPRESSION {
        true => 1,
        false => 1 + u64::from(*number),
    };
    Some((FRONT as u64 + compression, *number))
}

/// Numbers as the format has them: the sign, and the lowest byte first.
fn fixed(number: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in FIXED {
        bytes.extend([0, value]);
        bytes.resize(bytes.len() + usize::from(number) - 1, 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    fn fixed_in(head: &[u8]) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(head).unwrap();
        fix(&file).unwrap();
        let mut all = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn only_the_time_is_another_afterwards() {
        let time = |byte: u8| [0, byte, 0, 0, 0].repeat(7);
        for (minor, compression) in [(14_u8, vec![1, 1, 0, 0, 0]), (15, vec![1]), (16, vec![0])] {
            let dump = |time: Vec<u8>| {
                let front = [b"PGDMP".as_slice(), &[1, minor, 0, 4, 8, CUSTOM]].concat();
                [front, compression.clone(), time, b"the database".to_vec()].concat()
            };
            let (one, other) = (fixed_in(&dump(time(3))), fixed_in(&dump(time(99))));
            assert_eq!(one, other);
            let kept = dump(time(3)).len() - b"the database".len();
            assert_eq!(&one[kept..], b"the database");
            assert_eq!(
                one[..11 + compression.len()],
                dump(time(3))[..11 + compression.len()]
            );
        }
    }

    #[test]
    fn what_is_no_dump_stays_as_it_is() {
        for other in [
            b"".as_slice(),
            b"PGDMP",
            b"-- a script, and nothing else is in it",
        ] {
            assert_eq!(fixed_in(other), other);
        }
    }
}
