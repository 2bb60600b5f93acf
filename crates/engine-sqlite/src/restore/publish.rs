//! The last step: the working file becomes the database, and nothing is overwritten.
//!
//! In this order, so that at any moment a crash leaves the old file or the new one under the name,
//! and the old one under at least one name:
//!
//! 1. nobody else has the old file open, and its -wal is played into it,
//! 2. it gets a second name (a hard link), and the directory is synced,
//! 3. the working file is renamed to the target's name, and the directory is synced.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::Arc;

use fail::fail_point;
use model::{Clock, Obstacle, ServerExecutionId, SystemClock};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempPath;

use crate::database::open;
use crate::error::SqliteError;
use crate::restore::occupant::Occupant;
use crate::restore::working_file::{WorkingFile, sole};
use crate::site::{FileName, SiteDirectory};
use crate::snapshot::pragma;

/// What a kept file's name adds to the old one.
const KEPT: &str = ".before-restore-";

/// Everything that the last step needs to know.
pub(crate) struct Publishing {
    pub(crate) site: SiteDirectory,
    pub(crate) name: FileName,
    pub(crate) execution: ServerExecutionId,
    /// The permission bits of the file that was backed up.
    pub(crate) source_mode: u32,
}

/// How it went.
pub(crate) struct PublishedFile {
    /// The name under which the old file is kept.
    pub(crate) kept: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// The first obstacle as an error.
pub(crate) fn refuse(obstacles: Vec<Obstacle>) -> Result<(), SqliteError> {
    match obstacles.into_iter().next() {
        Some(Obstacle {
            code,
            detail,
            remedy,
        }) => Err(SqliteError::InTheWay {
            code,
            detail,
            remedy,
        }),
        None => Ok(()),
    }
}

impl Publishing {
    pub(crate) fn run(self, working: Arc<WorkingFile>) -> Result<PublishedFile, SqliteError> {
        let working = sole(working)?;
        let occupant = Occupant::look(&self.site, &self.name)?;
        let mut warnings = Vec::new();
        warnings.extend(self.dress(&working, occupant.file())?);
        working.sync()?;
        let path = working.into_path();
        let kept = match occupant.file() {
            Some(old) => Some(self.replace(path, old)?),
            None => {
                self.place(path)?;
                None
            }
        };
        Ok(PublishedFile { kept, warnings })
    }

    /// Gives the new file the permissions and the owner of the one that it replaces; a new one
    /// gets those bits that the backed-up one had.
    fn dress(
        &self,
        working: &WorkingFile,
        old: Option<&Metadata>,
    ) -> Result<Option<String>, SqliteError> {
        let wrong = |error| SqliteError::file("setting the permissions of", working.path(), error);
        let mode = old.map_or(self.source_mode, Metadata::mode) & 0o777;
        let mut warning = None;
        if let Some(old) = old {
            let own = working.file().metadata().map_err(wrong)?;
            let is_other = (own.uid(), own.gid()) != (old.uid(), old.gid());
            if is_other && fchown(working.file(), Some(old.uid()), Some(old.gid())).is_err() {
                warning = Some(format!(
                    "The restored {} belongs to another user or group than the file that it replaced ({}:{}): only root may give files away.",
                    self.name.as_str(),
                    old.uid(),
                    old.gid()
                ));
            }
        }
        // A change of the owner clears bits, so the mode comes last.
        let permissions = Permissions::from_mode(mode);
        working.file().set_permissions(permissions).map_err(wrong)?;
        Ok(warning)
    }

    fn place(&self, working: TempPath) -> Result<(), SqliteError> {
        let target = self.site.file(&self.name);
        self.refuse_side_files()?;
        no_clobber(working, &target)?;
        fail_point!("sqlite::a-file-has-its-name");
        self.sync_directory()
    }

    fn replace(&self, working: TempPath, old: &Metadata) -> Result<String, SqliteError> {
        let target = self.site.file(&self.name);
        // In rollback mode this connection keeps its lock until the swap is over.
        // An empty file has nothing to lose, and a lock would write a header into it.
        let lock = if old.len() == 0 {
            None
        } else {
            put_to_rest(&target)?
        };
        self.refuse_side_files()?;
        let now = self.site.look(&self.name)?;
        let is_same = |now: Metadata| (now.dev(), now.ino()) == (old.dev(), old.ino());
        if !now.is_some_and(is_same) {
            return Err(SqliteError::TargetInUse { path: target });
        }
        let kept = self.keep(&target)?;
        fail_point!("sqlite::the-old-file-is-kept");
        let renamed = working.persist(&target);
        if let Err(error) = renamed {
            // The old file still has its name; only the second one is taken back.
            let _ = fs::remove_file(self.site.path().join(&kept));
            return Err(SqliteError::file(
                "putting in its place",
                &target,
                error.error,
            ));
        }
        drop(lock);
        self.sync_directory()?;
        Ok(kept)
    }

    /// Gives the old file a second name that nobody has.
    fn keep(&self, target: &Path) -> Result<String, SqliteError> {
        let stem = kept_stem(&self.name);
        let kept = format!("{stem}{}", stamp(self.execution));
        let path = self.site.path().join(&kept);
        fs::hard_link(target, &path)
            .map_err(|error| SqliteError::file("keeping the old file as", &path, error))?;
        self.sync_directory()?;
        Ok(kept)
    }

    /// SQLite would play any -wal or -journal of that name into the restored file.
    fn refuse_side_files(&self) -> Result<(), SqliteError> {
        match self.site.side_files(&self.name).first() {
            None => Ok(()),
            Some(_) => Err(SqliteError::TargetInUse {
                path: self.site.file(&self.name),
            }),
        }
    }

    fn sync_directory(&self) -> Result<(), SqliteError> {
        let path = self.site.path();
        File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| SqliteError::file("syncing", path, error))
    }
}

/// When, and for which execution: the end of a kept name.
pub(crate) fn stamp(execution: ServerExecutionId) -> String {
    let time = SystemClock.now().to_the_second().replace(['-', ':'], "");
    format!("{time}-{execution}")
}

/// `shop.db.before-restore-`, cut where the whole would become too long for a file name.
pub(crate) fn kept_stem(name: &FileName) -> String {
    const LONGEST: usize = 190;
    let name = name.as_str();
    let end = name.floor_char_boundary(LONGEST);
    format!("{}{KEPT}", &name[..end])
}

fn no_clobber(working: TempPath, target: &Path) -> Result<(), SqliteError> {
    working.persist_noclobber(target).map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            SqliteError::InTheWay {
                code: "target-exists".to_owned(),
                detail: format!(
                    "{} has appeared while it was being restored.",
                    target.display()
                ),
                remedy: Some(
                    "Restore again, under another name or with replace_existing.".to_owned(),
                ),
            }
        } else {
            SqliteError::file("putting in its place", target, error.error)
        }
    })
}

/// Makes sure that nobody uses a database and that all of it is in its one file.
///
/// In WAL mode the last one who closes it removes the -wal: after our own opening and closing it
/// is gone exactly if nobody else has the file open. In rollback mode a program that has it open
/// without a transaction holds no lock and cannot be seen (`findings` warns of it); the lock that
/// is answered keeps everybody out until it is dropped.
fn put_to_rest(target: &Path) -> Result<Option<Connection>, SqliteError> {
    let database = open(target, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let failed = |error| match SqliteError::of("locking", target, error) {
        SqliteError::Locked { path } => SqliteError::TargetInUse { path },
        other => other,
    };
    match lock_or_empty_wal(&database).map_err(failed) {
        Ok(Rest::Locked) => Ok(Some(database)),
        Ok(Rest::WalEmptied) => {
            database.close().map_err(|(_, error)| failed(error))?;
            Ok(None)
        }
        // A damaged database is kept as it is.
        Err(SqliteError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

enum Rest {
    Locked,
    WalEmptied,
}

fn lock_or_empty_wal(database: &Connection) -> rusqlite::Result<Rest> {
    let mode: String = pragma(database, "journal_mode")?;
    if mode != "wal" {
        database.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        database.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
        return Ok(Rest::Locked);
    }
    let busy: bool = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, None));
    }
    Ok(Rest::WalEmptied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Connection as SiteConnection, ObjectName};

    fn scene() -> (tempfile::TempDir, Publishing) {
        let directory = tempfile::tempdir().unwrap();
        let connection = SiteConnection::Sqlite {
            path: directory.path().to_owned(),
        };
        let publishing = Publishing {
            site: SiteDirectory::open(&connection).unwrap(),
            name: FileName::of(&ObjectName::one("shop.db")).unwrap(),
            execution: "5.1".parse().unwrap(),
            source_mode: 0o600,
        };
        fs::write(directory.path().join("shop.db"), "old").unwrap();
        (directory, publishing)
    }

    #[test]
    fn a_name_that_is_taken_in_the_last_moment_is_not_overwritten() {
        let (directory, publishing) = scene();
        let working = directory.path().join("working");
        fs::write(&working, "new").unwrap();
        let refused = publishing.place(TempPath::try_from_path(&working).unwrap());
        assert!(matches!(refused, Err(SqliteError::InTheWay { .. })));
        let target = directory.path().join("shop.db");
        assert_eq!(fs::read_to_string(target).unwrap(), "old");
        assert!(!working.exists(), "and nothing of ours is left");
    }

    #[test]
    fn the_old_file_has_both_names_until_the_new_one_takes_its_place() {
        let (directory, publishing) = scene();
        let target = directory.path().join("shop.db");
        let kept = directory.path().join(publishing.keep(&target).unwrap());
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&kept), inode(&target));
    }

    #[test]
    fn a_kept_name_is_never_too_long_for_a_database() {
        let long = FileName::of(&ObjectName::one("ä".repeat(123))).unwrap();
        let kept = format!("{}20260131T020000Z-9999999999.99", kept_stem(&long));
        assert!(FileName::of(&ObjectName::one(kept)).is_ok());
    }
}
