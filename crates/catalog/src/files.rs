//! The data directory: who may see it, and which server has it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use model::Moment;

use crate::CatalogError;

/// Names of our own files begin so.
const OURS: [&str; 4] = ["catalog.db", "catalog.lock", "master.key", "backstay.tmp"];

pub(crate) fn failed<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(std::io::Error) -> CatalogError + 'a {
    move |source| CatalogError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Makes a directory that only its owner can use, and what is missing above it. One that is there
/// already is left as it is.
pub(crate) fn make_private_directory(directory: &Path) -> Result<(), CatalogError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed("make the directory", directory))
}

/// The data directory, made if need be, with mode 0700. A looser mode is tightened where nothing
/// but our own files could suffer by it; elsewhere it is an error, for the directory is shared
/// with somebody.
pub(crate) fn prepare_data_directory(directory: &Path) -> Result<(), CatalogError> {
    make_private_directory(directory)?;
    let mode = mode_of(directory)?;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory).map_err(failed("read the directory", directory))? {
        let name = entry
            .map_err(failed("read the directory", directory))?
            .file_name();
        let name = name.to_string_lossy();
        if !OURS.iter().any(|ours| name.starts_with(ours)) {
            return Err(CatalogError::DirectoryMode {
                path: directory.to_owned(),
                mode,
            });
        }
    }
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))
        .map_err(failed("set the mode of", directory))
}

/// The permission bits of a file or directory.
pub(crate) fn mode_of(path: &Path) -> Result<u32, CatalogError> {
    let metadata = std::fs::metadata(path).map_err(failed("look at", path))?;
    Ok(metadata.permissions().mode() & 0o7777)
}

/// Makes an empty file of mode 0600; one that is there already is left as it is.
pub(crate) fn make_private_file(path: &Path) -> Result<(), CatalogError> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop).map_err(failed("make the file", path)),
    }
}

pub(crate) fn sync_file(path: &Path) -> Result<(), CatalogError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed("sync", path))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), CatalogError> {
    sync_file(directory)
}

/// Held as long as a server uses its data directory. The operating system lets go of it when the
/// process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(directory: &Path, now: Moment) -> Result<Self, CatalogError> {
        let path = directory.join("catalog.lock");
        let failed = failed("lock", &path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(&failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is only helps the reader of the message; the lock itself is the fact.
                let told = file
                    .read_to_string(&mut holder)
                    .is_ok_and(|bytes| bytes > 0);
                let holder = if told {
                    holder.trim().to_owned()
                } else {
                    "unknown".to_owned()
                };
                return Err(CatalogError::Locked {
                    path: directory.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let holder = format!(
            "process {}, since {}\n",
            std::process::id(),
            now.to_the_second()
        );
        file.set_len(0).map_err(&failed)?;
        file.rewind().map_err(&failed)?;
        file.write_all(holder.as_bytes()).map_err(&failed)?;
        Ok(DirectoryLock { _file: file })
    }
}
