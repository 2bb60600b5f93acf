//! What of a base still holds for a file: nothing touched it, or its pages are compared.
//!
//! A file counts as untouched only if everything that a writer would have changed is as it was: device,
//! inode, size, the time of the last change to the nanosecond, and SQLite's change counter; if there was
//! and is nothing in its `-wal`; and if it had already been still for two seconds when the base was read.
//! File systems count time in ticks: a change right behind the base could else hide in the same tick.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Base, Basis, BlockSet, Extent, TablePlan};

use crate::facts::{FileFacts, PageFacts, StatFacts};
use crate::snapshot::{Snapshot, stat};

/// Longer than a tick of any file system's clock.
const STILL_FOR: Duration = Duration::from_secs(2);

/// How the file stands, looked at inside of the read transaction: what a writer does from now on is
/// not in the snapshot. `found` is what was opened; another file in its place is not still.
pub(crate) fn look(path: &Path, found: StatFacts) -> (StatFacts, bool) {
    let Ok(now) = fs::metadata(path) else {
        return (found, false);
    };
    let now = stat(&now);
    let same = (now.device, now.inode) == (found.device, found.inode);
    let still = same && wal_is_empty(path) && is_still(now, SystemTime::now());
    (if same { now } else { found }, still)
}

fn is_still(file: StatFacts, now: SystemTime) -> bool {
    let modified = u64::try_from(file.modified_ns).ok();
    let modified = modified.and_then(|ns| UNIX_EPOCH.checked_add(Duration::from_nanos(ns)));
    let age = modified.and_then(|modified| now.duration_since(modified).ok());
    age.is_some_and(|age| age > STILL_FOR)
}

/// Only its metadata is asked for: opening and closing it would drop SQLite's locks.
fn wal_is_empty(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    match fs::metadata(wal) {
        Ok(found) => found.len() == 0,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// What of the base's pages holds, and the rows that it counted if all of them do.
pub(crate) fn basis(base: &Base, snapshot: &Snapshot, plan: &TablePlan) -> Basis {
    let pages = snapshot.pages;
    let extent = Extent {
        blocks: pages.page_count,
        bytes: pages.bytes(),
    };
    let found = base.tables.iter().position(|table| table.name == plan.name);
    let Some(place) = found else {
        return nothing("the base has no such file");
    };
    let before = &base.tables[place];
    if before.shape != plan.shape || before.format != plan.format {
        return nothing("its pages have another size");
    }
    match untouched(base, snapshot).is_some()
        && PageFacts::from_value(&before.facts).ok() == Some(pages)
    {
        true => Basis::Changed {
            base: place,
            blocks: BlockSet::new(),
            holds: pages.page_count,
            extent,
        },
        false => Basis::Compare {
            base: place,
            extent,
        },
    }
}

/// What the base said of the file, if nothing has touched it since.
pub(crate) fn untouched(base: &Base, snapshot: &Snapshot) -> Option<FileFacts> {
    let before = FileFacts::from_closing(&base.facts).ok()?;
    let same = before.file == snapshot.file
        && before.pages == snapshot.pages
        && before.header.change_counter == snapshot.header.change_counter;
    (same && before.still && snapshot.still).then_some(before)
}

fn nothing(why: &str) -> Basis {
    Basis::Nothing {
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_still_two_seconds_after_its_last_change_and_never_before_it() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let file = StatFacts {
            device: 1,
            inode: 2,
            bytes: 3,
            modified_ns: 100_000_000_000,
            mode: 0o600,
        };
        assert!(!is_still(file, at(90)), "a change from the future");
        assert!(!is_still(file, at(101)));
        assert!(is_still(file, at(103)));
    }
}
