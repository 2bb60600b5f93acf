//! Whether a store does what a vault stands on.

use bytes::Bytes;
use object_store::PutMode;

use crate::VaultError;
use crate::ids::random;
use crate::store::{Failed, PutNew, Store, says_there};
use crate::vault::MAX_PLAIN_JSON;

/// Writes, reads, lists, tries a second put, and deletes one object of its own.
pub(crate) async fn probe(store: &Store) -> Result<(), VaultError> {
    let path = format!("probe/{}", hex::encode(random::<16>()?));
    let outcome = put_and_look(store, &path).await;
    let deleted = store.delete(&path).await;
    outcome.and(deleted)?;
    match store.get(&path, MAX_PLAIN_JSON).await {
        Err(VaultError::Missing { .. }) => Ok(()),
        Ok(_) => Err(unsuitable(
            store,
            format!("{path} is still there after it was deleted"),
        )),
        Err(error) => Err(error),
    }
}

async fn put_and_look(store: &Store, path: &str) -> Result<(), VaultError> {
    let small = store.limits().small;
    let first = Bytes::from(path.to_owned());
    if let PutNew::Other(_) = store.put_new(path, first.clone(), small).await? {
        return Err(unsuitable(
            store,
            format!("{path} was there before it was written"),
        ));
    }
    let second = Bytes::from_static(b"a second put");
    match store.put_once(path, second, PutMode::Create, small).await {
        Err(Failed::Answer(error)) if says_there(&error) => {}
        Err(error) => return Err(error.into_error("write", path)),
        Ok(()) => {
            return Err(VaultError::NoConditionalPut {
                place: store.place(),
                path: path.to_owned(),
            });
        }
    }
    if store.get(path, MAX_PLAIN_JSON).await? != first {
        return Err(unsuitable(
            store,
            format!("{path} is not read back as it was written"),
        ));
    }
    let name = path.trim_start_matches("probe/");
    let listed = store.list("probe").await?;
    if !listed.iter().any(|(listed, _)| listed == name) {
        return Err(unsuitable(
            store,
            format!("{path} is not listed after it was written"),
        ));
    }
    Ok(())
}

fn unsuitable(store: &Store, what: String) -> VaultError {
    VaultError::ProbeFailed {
        place: store.place(),
        what,
    }
}
