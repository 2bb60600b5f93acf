//! One snapshot for many streams: locks first, then the snapshot, then everybody joins it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use model::{Base, Beat, ObjectName, Progress};
use tempfile::NamedTempFile;

use crate::browse;
use crate::chosen::{Choice, Taken};
use crate::connect::Endpoint;
use crate::dictionary::Dump;
use crate::error::PostgresError;
use crate::inventory::{Inventory, Oid};
use crate::locks::{self, LOCKING, LargeObjects, Lockable, Patience, Strength};
use crate::session::Session;
use crate::tools::PgTools;
use crate::unreadable::Unreadable;
use crate::watch::{Counted, Limits, Sessions, Watch, Watched};

/// What a snapshot is asked for.
pub(crate) struct Wanted {
    pub endpoint: Endpoint,
    pub choice: Choice,
    pub application_name: String,
    pub streams: usize,
    pub limits: Limits,
    pub patience: Duration,
    pub skip_without_rights: bool,
    /// Whether others may write to the tables meanwhile.
    pub online: bool,
    pub tool_directories: Vec<PathBuf>,
    /// What a DELTA builds on.
    pub base: Option<Arc<Base>>,
    /// The site's beats.
    pub beats: Vec<Beat>,
    /// How long open transactions are waited for.
    pub transaction_patience: Duration,
    pub progress: Arc<dyn Progress>,
    #[cfg(feature = "rules-out")]
    pub onlooker: Option<Arc<dyn crate::Onlooker>>,
}

impl Wanted {
    /// A test may look on here.
    #[cfg(feature = "rules-out")]
    pub async fn looked_on(&self, step: crate::Step) {
        if let Some(onlooker) = &self.onlooker {
            onlooker.at(step).await;
        }
    }

    /// What the locks keep out.
    fn strength(&self) -> Strength {
        match self.online {
            true => Strength::AccessShare,
            false => Strength::Share,
        }
    }

    async fn refuse_offline_on_a_standby(&self, session: &Session) -> Result<(), PostgresError> {
        let sql = "SELECT pg_catalog.pg_is_in_recovery()";
        let doing = "asking whether the server is a standby";
        match !self.online && session.row(sql, &[], doing).await?.get(0) {
            true => Err(PostgresError::OfflineOnStandby {
                address: self.endpoint.address(),
            }),
            false => Ok(()),
        }
    }

    /// Large objects are all in one table, which is the system's.
    fn tell_unlocked(&self, large_objects: LargeObjects) {
        if !self.online && large_objects == LargeObjects::Readable {
            self.progress.note(
                "large objects were not locked against writers, which takes pg_maintain (PostgreSQL 17 and later) or a superuser: they are saved as of the snapshot"
                    .into(),
            );
        }
    }
}

/// A snapshot that is held, with all tables locked and the dictionary written in it.
pub(crate) struct Held {
    /// Holds the snapshot and its locks.
    pub session: Arc<Session>,
    /// Inside the snapshot, with locks of their own.
    pub streams: Vec<Session>,
    /// The tables that are read, and all types.
    pub inventory: Inventory,
    /// The relations that are chosen.
    pub taken: Taken,
    /// The tables as they were listed before the snapshot.
    pub listed: Vec<Lockable>,
    /// The tables and views that are skipped.
    pub left_out: HashSet<ObjectName>,
    /// Whether there are large objects to read.
    pub large_objects: LargeObjects,
    /// What pg_dump wrote.
    pub dump: NamedTempFile,
    /// The programs that wrote it.
    pub tools: PgTools,
    /// What the watch has decided.
    pub watched: Arc<Watched>,
    /// Ends when dropped.
    pub watch: Watch,
}

/// What one try came to.
struct Attempt {
    inventory: Inventory,
    taken: Taken,
    dump: NamedTempFile,
    watch: Watch,
    watched: Arc<Watched>,
}

/// Takes locks, snapshot and dictionary; tries again while locks are in the way.
pub(crate) async fn hold(wanted: &Wanted) -> Result<Held, PostgresError> {
    let open = || Session::open(&wanted.endpoint, &wanted.application_name);
    let session = Arc::new(open().await?);
    wanted.refuse_offline_on_a_standby(&session).await?;
    let strength = wanted.strength();
    let tools = crate::tools::find(session.major(), &wanted.tool_directories).await?;
    let streams = try_join_all((0..wanted.streams).map(|_| open())).await?;
    let timeout = locks::lock_timeout(&session).await?;
    let mut patience = Patience::new(wanted.patience);
    let mut looked = wanted.choice.is_whole();
    loop {
        let taken = Taken::read(&session, &wanted.choice).await?;
        let tables = locks::list(&session, strength, &taken).await?;
        if !std::mem::replace(&mut looked, true) {
            // It is looked again in the snapshot: but this costs nobody a lock.
            let found = browse::find(&session, wanted.endpoint.database()).await?;
            wanted.choice.check(&found, &tables)?;
        }
        let large_objects = match wanted.choice.takes_large_objects() {
            true => locks::large_objects(&session).await?,
            false => LargeObjects::None,
        };
        let unreadable = Unreadable::among(&tables, large_objects, wanted.endpoint.user());
        wanted.refuse_or_go_on(&unreadable)?;
        let opening = Opening {
            wanted,
            session: &session,
            streams: &streams,
            tools: &tools,
            tables: &tables,
            large_objects,
            timeout,
        };
        match opening.attempt().await {
            Ok(attempt) => {
                wanted.tell_skipped(&unreadable);
                wanted.tell_unlocked(large_objects);
                return Ok(Held {
                    session,
                    streams,
                    inventory: attempt.inventory,
                    taken: attempt.taken,
                    left_out: left_out(&tables),
                    listed: tables,
                    large_objects,
                    dump: attempt.dump,
                    tools,
                    watched: attempt.watched,
                    watch: attempt.watch,
                });
            }
            Err(error) if locks::is_passing(&error) => {
                opening.give_back().await?;
                patience.pause(error, &session, &tables, strength).await?;
            }
            Err(error) if error.is_lock_table_full() => {
                opening.give_back().await?;
                let locked = tables.iter().filter(|table| table.is_read()).count();
                // Each stream, the holder of the snapshot and pg_dump.
                let sessions = streams.len() + 2;
                return Err(locks::table_full(&session, locked, sessions).await?);
            }
            Err(error) => return Err(error),
        }
    }
}

fn left_out(tables: &[Lockable]) -> HashSet<ObjectName> {
    let out = tables.iter().filter(|table| !table.readable());
    out.map(|table| ObjectName::two(&table.schema, &table.name))
        .collect()
}

/// One try.
struct Opening<'a> {
    wanted: &'a Wanted,
    session: &'a Arc<Session>,
    streams: &'a [Session],
    tools: &'a PgTools,
    tables: &'a [Lockable],
    large_objects: LargeObjects,
    timeout: Duration,
}

impl Opening<'_> {
    async fn attempt(&self) -> Result<Attempt, PostgresError> {
        let lock =
            |strength| locks::statements(self.tables, self.large_objects, strength, self.timeout);
        let strength = self.wanted.strength();
        self.session.run(&lock(strength), LOCKING).await?;
        #[cfg(feature = "rules-out")]
        self.wanted.looked_on(crate::Step::Locked).await;
        let id = self.export().await?;
        #[cfg(feature = "rules-out")]
        if let Some(onlooker) = &self.wanted.onlooker {
            onlooker.in_snapshot(self.session.raw()?).await;
        }
        let mut inventory = Inventory::read(self.session).await?;
        let taken = Taken::read(self.session, &self.wanted.choice).await?;
        let seen = &inventory.tables;
        locks::check_ours(self.session, self.tables, seen, &taken, strength).await?;
        let read = self.tables.iter().filter(|table| table.is_read());
        let read: HashSet<Oid> = read.map(|table| table.oid).collect();
        inventory
            .tables
            .retain(|table| taken.has(table.oid) && read.contains(&table.oid));
        let watched = Arc::new(Watched::default());
        let watch = Watch::start(
            self.session.clone(),
            self.sessions(),
            self.wanted.limits,
            self.wanted.progress.clone(),
            watched.clone(),
        );
        let joined = async {
            // The locks of the streams come first: then nothing that queues up later keeps them
            // from reading, however long pg_dump takes.
            let lock = lock(Strength::AccessShare);
            let join = format!("{lock} SET TRANSACTION SNAPSHOT '{id}';");
            try_join_all(
                self.streams
                    .iter()
                    .map(|s| s.run(&join, "joining the snapshot")),
            )
            .await?;
            let dump = Dump {
                tools: self.tools,
                server_major: self.session.major(),
                application_name: &self.dump_name(),
                snapshot: &id,
                // It locks many tables in one statement, and means the statement.
                lock_timeout: self.timeout * 3,
            };
            let excluded = self.tables.iter().filter(|table| !table.readable());
            dump.run(self.wanted, excluded).await
        };
        match joined.await {
            Ok(dump) => Ok(Attempt {
                inventory,
                taken,
                dump,
                watch,
                watched,
            }),
            // What the watch did to the run is the reason, not how a part of it felt that.
            Err(error) => Err(watched.reason().unwrap_or(error)),
        }
    }

    fn sessions(&self) -> Sessions {
        let all = std::iter::once(self.session.as_ref()).chain(self.streams);
        Sessions {
            pids: all.map(Session::pid).collect(),
            dump_name: self.dump_name(),
            counted: match self.wanted.strength() {
                Strength::AccessShare => Counted::All,
                Strength::Share => Counted::Ddl,
            },
        }
    }

    /// Two servers of Backstay may count to the same execution, but they have no backend in common.
    fn dump_name(&self) -> String {
        let name = &self.wanted.application_name;
        format!("{name} pg_dump {}", self.session.pid())
    }

    async fn export(&self) -> Result<String, PostgresError> {
        let sql = "SELECT pg_catalog.pg_export_snapshot()";
        let id = self.session.text(sql, "exporting the snapshot").await?;
        id.ok_or_else(|| PostgresError::Lost {
            doing: "exporting the snapshot".into(),
        })
    }

    /// Gives back all locks.
    async fn give_back(&self) -> Result<(), PostgresError> {
        let doing = "giving back locks";
        let all = std::iter::once(self.session.as_ref()).chain(self.streams);
        try_join_all(all.map(|session| session.run("ROLLBACK", doing))).await?;
        Ok(())
    }
}
