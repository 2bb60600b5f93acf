//! Taking ACCESS SHARE on all tables, or SHARE for an offline backup, without ever standing in
//! anybody's way for long before all of them are there.
//!
//! A statement that waits for ACCESS EXCLUSIVE behind our lock blocks every later reader of that
//! table, and PostgreSQL may choose the user's transaction as the victim of a deadlock in which
//! we wait while we hold. So a lock is waited for less long than `deadlock_timeout`; then all are
//! given back and everything begins anew.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use crate::chosen::Taken;
use crate::error::PostgresError;
use crate::inventory::{Oid, Table, quoted};
use crate::session::Session;
use crate::unreadable::Obstacle;
use crate::watch::words;

/// How long the taking of locks is tried where nothing else is set.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Tables in one LOCK statement.
const BATCH: usize = 500;

/// What the session that holds the locks is doing while it takes them.
pub(crate) const LOCKING: &str = "locking the tables";

/// What the locks of a run keep out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strength {
    /// Nobody who writes: an online backup.
    AccessShare,
    /// Whoever writes: an offline backup.
    Share,
}

impl Strength {
    /// As LOCK names it.
    fn words(self) -> &'static str {
        match self {
            Strength::AccessShare => "ACCESS SHARE",
            Strength::Share => "SHARE",
        }
    }

    /// As `pg_locks` names it.
    fn mode(self) -> &'static str {
        match self {
            Strength::AccessShare => "AccessShareLock",
            Strength::Share => "ShareLock",
        }
    }

    /// The modes that keep it out, as `pg_locks` names them.
    fn kept_out_by(self) -> &'static [&'static str] {
        match self {
            Strength::AccessShare => &["AccessExclusiveLock"],
            Strength::Share => &[
                "RowExclusiveLock",
                "ShareUpdateExclusiveLock",
                "ShareRowExclusiveLock",
                "ExclusiveLock",
                "AccessExclusiveLock",
            ],
        }
    }

    /// The rights of which one allows it, beside the one to read.
    fn rights(self, major: u32) -> Option<&'static str> {
        match (self, major) {
            (Strength::AccessShare, _) => None,
            (Strength::Share, ..17) => Some("UPDATE, DELETE, TRUNCATE"),
            (Strength::Share, _) => Some("UPDATE, DELETE, TRUNCATE, MAINTAIN"),
        }
    }

    /// The right that is granted where none is there: the one with the least harm in it.
    fn right(major: u32) -> &'static str {
        match major {
            ..17 => "UPDATE",
            _ => "MAINTAIN",
        }
    }
}

/// Whether there are large objects, and whether the role may read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LargeObjects {
    /// They are read, and may be locked against writers.
    Lockable,
    /// Their rows are locked and read with the tables.
    Readable,
    /// The role may not, but there are none.
    None,
    /// There are some that the role may not read.
    Unreadable,
}

impl LargeObjects {
    /// Whether their rows are locked and read with the tables.
    pub(crate) fn are_read(self) -> bool {
        matches!(self, LargeObjects::Lockable | LargeObjects::Readable)
    }
}

/// A table as it was listed before the snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Lockable {
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    /// Whether it is chosen.
    pub taken: bool,
    /// Why its rows cannot be read, all of them; empty: they can. Of a table that is not chosen:
    /// why not even its definition can be read.
    pub obstacles: Vec<Obstacle>,
}

impl Lockable {
    /// Whether the role may read all its rows.
    pub(crate) fn readable(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// Whether this run locks and reads it.
    pub(crate) fn is_read(&self) -> bool {
        self.taken && self.readable()
    }

    /// As an error or a warning names it.
    pub(crate) fn qualified(&self) -> String {
        model::ObjectName::two(&self.schema, &self.name).to_string()
    }
}

/// Lists the tables, outside of the transaction that will hold the snapshot.
pub(crate) async fn list(
    session: &Session,
    strength: Strength,
    taken: &Taken,
) -> Result<Vec<Lockable>, PostgresError> {
    let sql = include_str!("../sql/lockable_14.sql");
    let rights = strength.rights(session.major());
    let doing = "listing the tables to lock";
    let rows = session.rows(sql, &[&rights], doing).await?;
    let obstacles = [
        Obstacle::Schema,
        Obstacle::Table,
        Obstacle::Policies,
        Obstacle::Lock(Strength::right(session.major())),
    ];
    let tables = rows.iter().map(|row| {
        let taken = taken.has(row.get(0));
        // The definition alone needs no more than these two.
        let counted = if taken { obstacles.len() } else { 2 };
        Lockable {
            oid: row.get(0),
            schema: row.get(1),
            name: row.get(2),
            taken,
            obstacles: (3..)
                .zip(&obstacles[..counted])
                .filter(|(place, _)| !row.get::<_, bool>(place))
                .map(|(_, obstacle)| obstacle.clone())
                .collect(),
        }
    });
    leave_out_dependents(session, tables.collect(), taken).await
}

/// A view over a table that is left out, or a table that inherits from it, could not be made again:
/// it is left out too.
async fn leave_out_dependents(
    session: &Session,
    mut tables: Vec<Lockable>,
    taken: &Taken,
) -> Result<Vec<Lockable>, PostgresError> {
    let out = tables.iter().filter(|table| !table.readable());
    let out: Vec<Oid> = out.map(|table| table.oid).collect();
    if out.is_empty() {
        return Ok(tables);
    }
    let listed = tables.iter().map(|table| table.oid).zip(0..);
    let places: std::collections::HashMap<Oid, usize> = listed.collect();
    let sql = include_str!("../sql/dependents_14.sql");
    let doing = "looking for what needs a table that may not be read";
    for row in session.rows(sql, &[&out], doing).await? {
        let oid: Oid = row.get(0);
        let needed: (String, String) = (row.get(3), row.get(4));
        let needs = Obstacle::Needs {
            name: model::ObjectName::two(needed.0, needed.1).to_string(),
            oid: row.get(5),
        };
        match places.get(&oid) {
            Some(&place) => tables[place].obstacles.push(needs),
            None => tables.push(Lockable {
                oid,
                schema: row.get(1),
                name: row.get(2),
                taken: taken.has(oid),
                obstacles: vec![needs],
            }),
        }
    }
    Ok(tables)
}

/// Looks at the large objects, outside of the transaction that will hold the snapshot.
pub(crate) async fn large_objects(session: &Session) -> Result<LargeObjects, PostgresError> {
    let sql = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT'),
                      pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', $1),
                      EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)";
    let rights = Strength::Share.rights(session.major());
    let doing = "looking for large objects";
    let row = session.row(sql, &[&rights], doing).await?;
    Ok(match (row.get(0), row.get(1), row.get(2)) {
        (true, true, _) => LargeObjects::Lockable,
        (true, false, _) => LargeObjects::Readable,
        (false, _, false) => LargeObjects::None,
        (false, _, true) => LargeObjects::Unreadable,
    })
}

/// How long one lock is waited for: a quarter of `deadlock_timeout`, so that nobody who began to
/// wait for us shortly before finds a deadlock.
pub(crate) async fn lock_timeout(session: &Session) -> Result<Duration, PostgresError> {
    let sql = "SELECT setting::pg_catalog.int8 FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'";
    let row = session.row(sql, &[], "reading deadlock_timeout").await?;
    let milliseconds = u64::try_from(row.get::<_, i64>(0)).unwrap_or(1000) / 4;
    Ok(Duration::from_millis(milliseconds.clamp(5, 500)))
}

/// The statements that open the transaction and take the locks; none of them takes a snapshot.
pub(crate) fn statements(
    tables: &[Lockable],
    large_objects: LargeObjects,
    strength: Strength,
    timeout: Duration,
) -> String {
    let mut sql = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL lock_timeout = {};",
        timeout.as_millis()
    );
    let mut names: Vec<String> = tables
        .iter()
        .filter(|table| table.is_read())
        .map(|table| format!("{}.{}", quoted(&table.schema), quoted(&table.name)))
        .collect();
    let large = "pg_catalog.pg_largeobject".to_owned();
    match (large_objects, strength) {
        (LargeObjects::Lockable, _) | (LargeObjects::Readable, Strength::AccessShare) => {
            names.push(large);
        }
        (LargeObjects::Readable, Strength::Share) => {
            sql.push_str(&lock(&[large], Strength::AccessShare));
        }
        (LargeObjects::None | LargeObjects::Unreadable, _) => {}
    }
    match strength {
        Strength::AccessShare => {
            let batches = names.chunks(BATCH).map(|batch| lock(batch, strength));
            sql.extend(batches);
        }
        // Many of these locks may have to be waited for, one after the other, while writers wait
        // for those that are there: all of that together must be over before `deadlock_timeout`.
        Strength::Share => sql.push_str(&format!(
            "SET LOCAL statement_timeout = {};{}SET LOCAL statement_timeout = 0;",
            (timeout * 3).as_millis(),
            lock(&names, strength)
        )),
    }
    sql.push_str("SET LOCAL lock_timeout = 0;");
    sql
}

fn lock(names: &[String], strength: Strength) -> String {
    match names {
        [] => String::new(),
        names => format!(
            "LOCK TABLE ONLY {} IN {} MODE;",
            names.join(", ONLY "),
            strength.words()
        ),
    }
}

/// What a full lock table means for a run; asked outside of a transaction.
pub(crate) async fn table_full(
    session: &Session,
    tables: usize,
    sessions: usize,
) -> Result<PostgresError, PostgresError> {
    let sql = "SELECT pg_catalog.current_setting('max_locks_per_transaction')::pg_catalog.int8,
                      pg_catalog.current_setting('max_connections')::pg_catalog.int8
                      + pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int8";
    let doing = "reading max_locks_per_transaction";
    let row = session.row(sql, &[], doing).await?;
    let (setting, shares): (i64, i64) = (row.get(0), row.get(1));
    let locks = i64::try_from(tables * sessions).unwrap_or(i64::MAX / 4);
    Ok(PostgresError::LockTableFull {
        sessions,
        tables,
        setting,
        // What the others took is not known: it is what was there before, and a fifth more.
        needed: setting + locks / shares.max(1) * 6 / 5 + 1,
    })
}

/// Holds the tables that a snapshot sees, and those of them that are `taken` there, against the
/// locks that this session has.
pub(crate) async fn check_ours(
    session: &Session,
    listed: &[Lockable],
    seen: &[Table],
    taken: &Taken,
    strength: Strength,
) -> Result<(), PostgresError> {
    let sql = include_str!("../sql/our_locks_14.sql");
    let doing = "checking the locks";
    let rows = session.rows(sql, &[&strength.mode()], doing).await?;
    let held: std::collections::HashSet<Oid> = rows.iter().map(|row| row.get(0)).collect();
    let known: std::collections::HashMap<Oid, &Lockable> =
        listed.iter().map(|table| (table.oid, table)).collect();
    let mut seen = seen.iter().filter(|table| taken.has(table.oid));
    let moved = seen.find(|table| match known.get(&table.oid) {
        // It was found to be unreadable, and that is told.
        Some(known) if known.taken && !known.readable() => false,
        Some(known) => {
            known.schema != table.schema || known.name != table.name || !held.contains(&table.oid)
        }
        None => true,
    });
    match moved {
        None => Ok(()),
        Some(table) => Err(PostgresError::TablesMoved {
            what: format!("{} is not the one that was locked", table.qualified()),
        }),
    }
}

/// Who keeps us from these tables, in words; asked outside of a transaction.
pub(crate) async fn holders(
    session: &Session,
    tables: &[Lockable],
    strength: Strength,
) -> Result<Vec<String>, PostgresError> {
    let sql = include_str!("../sql/lock_holders_14.sql");
    let oids: Vec<Oid> = tables.iter().map(|table| table.oid).collect();
    let rows = session
        .rows(
            sql,
            &[&oids, &strength.kept_out_by()],
            "asking who holds locks",
        )
        .await?;
    let one = |row: &tokio_postgres::Row| {
        let who = match row.get::<_, Option<i32>>(0) {
            Some(pid) => words(pid, row.get(4), row.get(5), row.get(6)),
            None => "a prepared transaction".to_owned(),
        };
        let what: String = row.get(1);
        match (
            row.get::<_, Option<String>>(2),
            row.get::<_, Option<String>>(3),
        ) {
            (Some(schema), Some(name)) => {
                let table = model::ObjectName::two(schema, name);
                let mode = spelled(row.get(7));
                format!("{table} is locked: {what} {mode}: {who}")
            }
            _ => format!("{what}: {who}"),
        }
    };
    Ok(rows.iter().map(one).collect())
}

/// `RowExclusiveLock`, as `pg_locks` has it, in the words of the manual.
fn spelled(mode: &str) -> String {
    let mut words = String::new();
    for letter in mode.strip_suffix("Lock").unwrap_or(mode).chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_uppercase());
    }
    words
}

/// Whether everything should be given back and begun anew.
pub(crate) fn is_passing(error: &PostgresError) -> bool {
    // pg_dump repeats its LOCK TABLE there too; waiting mends nothing.
    if error.is_lock_table_full() {
        return false;
    }
    let lock_of_dump = matches!(
        error,
        PostgresError::ToolFailed { stderr, .. }
            // pg_dump repeats the statement that failed; it runs in the C locale.
            if (stderr.contains("LOCK TABLE ") && !stderr.contains("permission denied"))
                || stderr.contains("cache lookup failed")
                || stderr.contains("could not open relation with OID")
    );
    lock_of_dump
        || matches!(error, PostgresError::TablesMoved { .. })
        || error.is_lock_timeout()
        || error.is_slow_locking()
        || error.is_gone()
        || error.sql_state() == Some(SqlState::T_R_DEADLOCK_DETECTED)
}

/// Tries for a while, from the first failure on.
pub(crate) struct Patience {
    limit: Duration,
    first_failure: Option<Instant>,
    tries: u32,
    holders: Vec<String>,
}

impl Patience {
    /// Patience for so long.
    pub(crate) fn new(limit: Duration) -> Self {
        Patience {
            limit,
            first_failure: None,
            tries: 0,
            holders: Vec::new(),
        }
    }

    /// Waits before the next try, or gives up with who is in the way. All locks are given back.
    pub(crate) async fn pause(
        &mut self,
        error: PostgresError,
        session: &Session,
        tables: &[Lockable],
        strength: Strength,
    ) -> Result<(), PostgresError> {
        let now = holders(session, tables, strength).await?;
        if !now.is_empty() {
            self.holders = now;
        }
        let begun = *self.first_failure.get_or_insert_with(Instant::now);
        self.tries += 1;
        if begun.elapsed() >= self.limit {
            return Err(self.give_up(error, begun.elapsed()));
        }
        tracing::debug!(tries = self.tries, %error, "locks are given back, and taken anew");
        let pause = Duration::from_millis(100 << self.tries.min(4)).min(Duration::from_secs(1));
        tokio::time::sleep(pause.min(self.limit)).await;
        Ok(())
    }

    fn give_up(&self, error: PostgresError, after: Duration) -> PostgresError {
        if matches!(error, PostgresError::TablesMoved { .. }) {
            return error;
        }
        let holders = match self.holders.is_empty() {
            true => format!("whoever held them was gone each time it was looked ({error})"),
            false => self.holders.join("; "),
        };
        PostgresError::Locked {
            seconds: after.as_secs(),
            holders,
        }
    }
}
