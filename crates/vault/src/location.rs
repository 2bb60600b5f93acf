//! From a vault's URL to its store.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use model::StoreKind;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::Url;

use crate::vault::VAULT_FILE;
use crate::{VaultError, cloud};

/// All folders of a vault.
const FOLDERS: [&str; 9] = [
    "owners",
    "keys",
    "manifests",
    "packs",
    "moves",
    "pins",
    "catalog",
    "deleted",
    "probe",
];

/// Opens the store of a vault's location, and says where in it the vault is. A local directory is
/// made if it is not there, and what it answers is durable: files and their directories are synced.
/// A store in the net is not asked anything yet. [`StoreKind::options`] lists the options.
///
/// # Errors
/// When the URL or an option is wrong, the directory cannot be made, or this kind of store is not
/// compiled in.
pub fn open_store(
    url: &str,
    options: &BTreeMap<String, String>,
) -> Result<(Arc<dyn ObjectStore>, Path), VaultError> {
    if let Some(kind) = StoreKind::of_url(url).filter(|kind| *kind != StoreKind::Local) {
        return cloud::open(kind, url, options);
    }
    let directory = local_directory(url)?;
    if let Some(option) = options.keys().next() {
        return Err(wrong(
            url,
            format!("a local directory has no option {option:?}"),
        ));
    }
    make(&directory).map_err(|e| wrong(url, format!("the directory cannot be made: {e}")))?;
    let store = LocalFileSystem::new_with_prefix(&directory)
        .map_err(|e| wrong(url, format!("the directory cannot be opened: {e}")))?
        .with_fsync(true);
    Ok((Arc::new(store), Path::default()))
}

/// The same as one store that begins where the vault does.
///
/// # Errors
/// As [`open_store`].
pub fn open_vault_store(
    url: &str,
    options: &BTreeMap<String, String>,
) -> Result<Arc<dyn ObjectStore>, VaultError> {
    let (store, prefix) = open_store(url, options)?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

/// Removes what a crash left half-written in a local vault: files named `*#<digits>` in the folders
/// of the vault, which no listing shows. To be called when the server starts, before anything is
/// written. Answers how many. Whatever else lies in the directory is not touched. Stores in the net
/// have none: a put there is whole or nothing.
///
/// # Errors
/// When the URL is wrong, or a directory cannot be read or a file removed.
pub async fn remove_stale_staging(url: &str) -> Result<u64, VaultError> {
    if StoreKind::of_url(url).is_some_and(|kind| kind != StoreKind::Local) {
        return Ok(0);
    }
    let directory = local_directory(url)?;
    let removed = tokio::task::spawn_blocking(move || remove_staging(&directory)).await;
    let removed = removed.map_err(|error| VaultError::Internal {
        doing: "look for staging files",
        why: error.to_string(),
    })?;
    removed.map_err(|e| wrong(url, format!("a staging file cannot be removed: {e}")))
}

fn local_directory(url: &str) -> Result<PathBuf, VaultError> {
    let parsed = Url::parse(url).map_err(|e| {
        wrong(
            url,
            format!("it is no URL ({e}); a directory is file:///path"),
        )
    })?;
    match parsed.scheme() {
        "file" => {}
        other => {
            return Err(wrong(
                url,
                format!("nothing is known of {other}://; there are file, s3, az and gs"),
            ));
        }
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(wrong(
            url,
            "a local directory has no ? and no # in its URL".to_owned(),
        ));
    }
    let path = parsed.to_file_path();
    path.map_err(|()| {
        wrong(
            url,
            "it names no local directory; three slashes: file:///path".to_owned(),
        )
    })
}

/// Makes a directory that only its owner reads, with those above it, durably.
fn make(directory: &FilePath) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory.parent() {
        make(above)?;
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(directory) {
            // Somebody else may have made it meanwhile, but not as a file.
            Err(e) if !directory.is_dir() => return Err(e),
            _ => {}
        }
        #[cfg(unix)]
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

fn remove_staging(vault: &FilePath) -> io::Result<u64> {
    let mut removed = 0;
    for folder in FOLDERS {
        removed += remove_staging_below(&vault.join(folder))?;
    }
    for digits in 1.. {
        // The store counts on only while the file before is there.
        match fs::remove_file(vault.join(format!("{VAULT_FILE}#{digits}"))) {
            Ok(()) => removed += 1,
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            Err(e) => return Err(e),
        }
    }
    Ok(removed)
}

fn remove_staging_below(directory: &FilePath) -> io::Result<u64> {
    let mut removed = 0;
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            removed += remove_staging_below(&entry.path())?;
        } else if is_staging(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The local store writes `<name>#<digits>` first and then links or renames it.
fn is_staging(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(stem, digits)| {
        !stem.is_empty() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn wrong(url: &str, why: String) -> VaultError {
    VaultError::Location {
        url: url.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(directory: &FilePath) -> String {
        Url::from_file_path(directory).unwrap().to_string()
    }

    #[test]
    fn a_local_store_syncs_what_it_writes() {
        let place = tempfile::tempdir().unwrap();
        let (store, prefix) =
            open_store(&url(&place.path().join("a/b")), &BTreeMap::new()).unwrap();
        // The store shows its setting only in its Debug form.
        assert!(format!("{store:?}").contains("fsync: true"), "{store:?}");
        assert!(!format!("{:?}", LocalFileSystem::new()).contains("fsync: true"));
        assert_eq!(prefix, Path::default());
        assert!(place.path().join("a/b").is_dir());
    }

    #[test]
    fn a_location_that_cannot_be_used_is_refused_with_the_reason() {
        let refused = |url: &str| open_store(url, &BTreeMap::new()).err().unwrap().to_string();
        assert!(refused("/srv/backups").contains("file:///path"));
        assert!(refused("file://host/srv").contains("three slashes"));
        assert!(refused("ftp://x/y").contains("ftp://"));
        let place = tempfile::tempdir().unwrap();
        let options = BTreeMap::from([("region".to_owned(), "x".to_owned())]);
        let error = open_store(&url(place.path()), &options).err().unwrap();
        assert!(error.to_string().contains("region"), "{error}");
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(refused(&url(&file.join("below"))).contains("cannot be made"));
        assert!(refused(&url(&file)).contains("cannot be made"));
    }

    #[tokio::test]
    async fn only_staging_files_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let packs = place.path().join("packs/aa");
        fs::create_dir_all(&packs).unwrap();
        for name in ["one", "one#1", "two#22", "#3", "four#", "five#5x"] {
            fs::write(packs.join(name), name).unwrap();
        }
        assert_eq!(remove_stale_staging(&url(place.path())).await.unwrap(), 2);
        let mut left: Vec<_> = fs::read_dir(&packs)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["#3", "five#5x", "four#", "one"]);
        // The directory may hold other things, and a vault's own file is at its top.
        let mut kept = Vec::new();
        for name in ["notes#1", "other/packs#1", "other/packs/one#1"] {
            kept.push(place.path().join(name));
            fs::create_dir_all(kept.last().unwrap().parent().unwrap()).unwrap();
            fs::write(kept.last().unwrap(), name).unwrap();
        }
        for name in ["vault.json#1", "vault.json#2"] {
            fs::write(place.path().join(name), name).unwrap();
        }
        assert_eq!(remove_stale_staging(&url(place.path())).await.unwrap(), 2);
        assert!(kept.iter().all(|path| path.exists()));
        let nowhere = place.path().join("nowhere");
        assert_eq!(remove_stale_staging(&url(&nowhere)).await.unwrap(), 0);
    }
}
