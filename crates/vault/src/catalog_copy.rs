//! Copies of the site's catalog rows, so that the vault outlives its server.

use bytes::Bytes;
use fail::fail_point;
use model::ExecutionId;

use crate::pack_reader::on_cpu;
use crate::seal::{Kind, open, seal};
use crate::{Vault, VaultError};

/// As many copies are kept.
const KEPT: usize = 2;

/// A copy is at most this long, unpacked.
const MAX_CATALOG_BYTES: u64 = 256 << 20;

fn catalog_path(execution: ExecutionId) -> String {
    format!("catalog/{execution}")
}

impl Vault {
    /// Keeps the site's catalog rows as they were after that execution. Once they are safe, all
    /// copies but the newest two are deleted.
    ///
    /// # Errors
    /// [`TooLarge`](VaultError::TooLarge), or what the store says.
    pub async fn put_catalog(
        &self,
        execution: ExecutionId,
        rows: Vec<u8>,
    ) -> Result<(), VaultError> {
        self.must_be_owned()?;
        let path = catalog_path(execution);
        if rows.len() as u64 > MAX_CATALOG_BYTES {
            return Err(VaultError::TooLarge {
                path,
                bytes: rows.len() as u64,
                limit: MAX_CATALOG_BYTES,
            });
        }
        let keys = self.0.keys.clone();
        let sealed_path = path.clone();
        let object: Bytes = on_cpu(move || seal(&keys, Kind::Catalog, &sealed_path, &rows)).await?;
        self.0.store.put_over(&path, object).await?;
        fail_point!("vault::a-copy-of-the-catalog-is-put");
        for older in self.catalogs().await?.into_iter().skip(KEPT) {
            self.0.store.delete(&catalog_path(older)).await?;
        }
        Ok(())
    }

    /// The executions after which a copy was kept, newest first.
    ///
    /// # Errors
    /// What the store says.
    pub async fn catalogs(&self) -> Result<Vec<ExecutionId>, VaultError> {
        let names = self.0.store.list("catalog").await?;
        let ids = names.into_iter().filter_map(|(name, _)| name.parse().ok());
        let mut ids: Vec<ExecutionId> = ids.collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// The catalog rows kept after that execution.
    ///
    /// # Errors
    /// [`Missing`](VaultError::Missing), [`Damaged`](VaultError::Damaged), or what the store says.
    pub async fn catalog(&self, execution: ExecutionId) -> Result<Vec<u8>, VaultError> {
        let path = catalog_path(execution);
        let object = self
            .0
            .store
            .get(&path, MAX_CATALOG_BYTES + (1 << 20))
            .await?;
        let keys = self.0.keys.clone();
        on_cpu(
            move || match open(&keys, &path, &object, MAX_CATALOG_BYTES)? {
                (Kind::Catalog, rows) => Ok(rows),
                _ => Err(VaultError::damaged(path, "it is no copy of the catalog")),
            },
        )
        .await
    }
}
