//! Opening and closing a catalog.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Clock, ExposeSecret, Moment};

use crate::database::{Connection, Database};
use crate::files::{DirectoryLock, prepare_data_directory};
use crate::sealing::{Place, Sealer};
use crate::tokens::TokenHasher;
use crate::{CatalogError, MasterKey, migrations};

/// A value whose text is known: if it opens, the master key is the right one.
const CANARY: &str = "backstay";
const CANARY_PLACE: Place<'static> = Place {
    table: "setting",
    owner: "catalog",
    name: "canary",
};

/// The open catalog of a data directory. Cloning it is cheap.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    sealer: Sealer,
    hasher: TokenHasher,
    clock: Arc<dyn Clock>,
    data_dir: PathBuf,
    node_id: String,
    /// Declared last: let go of when the connections are gone.
    _lock: DirectoryLock,
}

impl Catalog {
    /// Opens the catalog in a data directory; makes both where there is none yet.
    ///
    /// # Errors
    /// [`CatalogError::Locked`] if another server uses the directory, [`CatalogError::Newer`] if a
    /// newer program wrote the catalog, [`CatalogError::MasterKeyWrong`],
    /// [`CatalogError::DirectoryMode`] if others can see the directory; and what files and
    /// databases can do.
    pub async fn open(
        data_dir: &Path,
        key: MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CatalogError> {
        prepare_data_directory(data_dir)?;
        let lock = DirectoryLock::take(data_dir, clock.now())?;
        let database = Database::open(&data_dir.join("catalog.db")).await?;
        migrations::run(&database, data_dir).await?;
        let sealer = Sealer::new(&key)?;
        prove_key(&database, &sealer, data_dir).await?;
        let node_id = node_id(&database).await?;
        let inner = Inner {
            database,
            sealer,
            hasher: TokenHasher::new(&key),
            clock,
            data_dir: data_dir.to_owned(),
            node_id,
            _lock: lock,
        };
        Ok(Catalog {
            inner: Arc::new(inner),
        })
    }

    /// Ends all connections and folds the write-ahead log into the file. What is not closed is
    /// not lost either: the next `open` reads the log.
    pub async fn close(self) {
        self.inner.database.close().await;
    }

    /// Whether the catalog answers; for a readiness check.
    pub async fn ping(&self) -> Result<(), CatalogError> {
        sqlx::query("SELECT 1 FROM counter")
            .execute(self.database().read())
            .await?;
        Ok(())
    }

    /// This server's identity: made when the data directory was first used, the same ever since.
    pub fn node_id(&self) -> &str {
        &self.inner.node_id
    }

    /// Where it lives.
    pub fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    pub(crate) fn hasher(&self) -> &TokenHasher {
        &self.inner.hasher
    }

    pub(crate) fn now(&self) -> Moment {
        self.inner.clock.now()
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("data_dir", &self.inner.data_dir)
            .finish_non_exhaustive()
    }
}

async fn prove_key(
    database: &Database,
    sealer: &Sealer,
    data_dir: &Path,
) -> Result<(), CatalogError> {
    let sealed = setting_or(database, "canary", &sealer.seal(CANARY_PLACE, CANARY)?).await?;
    match sealer.open(CANARY_PLACE, &sealed) {
        Ok(text) if text.expose_secret() == CANARY => Ok(()),
        _ => Err(CatalogError::MasterKeyWrong {
            path: data_dir.to_owned(),
        }),
    }
}

async fn node_id(database: &Database) -> Result<String, CatalogError> {
    setting_or(database, "node_id", &uuid::Uuid::new_v4().to_string()).await
}

/// The value of a setting; the first that asks decides it.
async fn setting_or(database: &Database, name: &str, first: &str) -> Result<String, CatalogError> {
    let mut tx = database.begin().await?;
    sqlx::query("INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(first)
        .execute(&mut *tx)
        .await?;
    let value = sqlx::query_scalar("SELECT value FROM setting WHERE name = $1")
        .bind(name)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(value)
}

/// The next id of a sequence. Ids of a transaction that is rolled back are given out again, but
/// nobody has seen them.
pub(crate) async fn next_id(tx: &mut Connection, counter: &str) -> Result<i64, CatalogError> {
    let id =
        sqlx::query_scalar("UPDATE counter SET value = value + 1 WHERE name = $1 RETURNING value")
            .bind(counter)
            .fetch_one(tx)
            .await?;
    Ok(id)
}
