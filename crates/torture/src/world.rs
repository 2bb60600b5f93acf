//! What a history is played in: a database, some sessions that write, and what may happen to the server.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::Client;

use crate::rows::quoted;
use crate::{Dice, Move, Rig, Story, Trouble};

/// How many sessions write.
pub const HANDS: usize = 4;

/// The database of every history; its copies have other names.
pub const DATABASE: &str = "shop";

/// What every history's database has before its tables.
const TYPES: &str = "
    CREATE SCHEMA a; CREATE SCHEMA b;
    CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'glad');
    CREATE DOMAIN public.feeling AS public.mood;
    CREATE TYPE public.pair AS (x int, y text);
    CREATE TYPE public.nest AS (p public.pair, f public.feeling);
    GRANT USAGE ON SCHEMA a, b TO PUBLIC";

/// Tables with their columns.
const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text, c.relpersistence::text,
           coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '{}'),
           coalesce(array_agg(pg_catalog.format_type(a.atttypid, NULL) ORDER BY a.attnum)
                    FILTER (WHERE a.attname IS NOT NULL), '{}')
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a
           ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    WHERE c.relkind = 'r' AND n.nspname IN ('a', 'b', 'public')
    GROUP BY n.nspname, c.relname, c.relpersistence ORDER BY 1, 2";

/// A table that moves may change.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Names and types of its columns, without generated ones.
    pub columns: Vec<(String, String)>,
}

impl Table {
    /// As SQL takes it.
    pub fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// Whether it has a column of that name.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|(name, _)| name == column)
    }
}

/// A session that writes.
#[derive(Default)]
struct Hand {
    client: Option<Client>,
    open: bool,
}

/// A history's world.
pub struct World {
    /// The server.
    pub rig: Arc<Rig>,
    /// Chance.
    pub dice: Dice,
    /// Every step so far, for who looks for the reason of a loss.
    pub story: Story,
    /// Whether the server was stopped since this was last set to false.
    pub disturbed: bool,
    /// Whether a copy of the data directory is kept.
    pub kept: bool,
    /// The table that moves like best for a while.
    pub focus: Option<(String, String)>,
    /// Whether a place in the WAL should be noted now.
    pub wants_beat: bool,
    /// Moves that come next.
    pub planned: VecDeque<Move>,
    hands: Vec<Hand>,
    counter: usize,
}

impl World {
    /// A world with a fresh database.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub async fn make(rig: Arc<Rig>, dice: Dice, story: Story) -> Result<World, Trouble> {
        let mut world = World {
            rig,
            dice,
            story,
            disturbed: false,
            kept: false,
            focus: None,
            wants_beat: false,
            planned: VecDeque::new(),
            hands: (0..HANDS).map(|_| Hand::default()).collect(),
            counter: 0,
        };
        let again = world.rig.use_again();
        world.clear(again).await?;
        match again {
            true => world.tidy().await?,
            false => {
                let client = world.rig.hand("postgres").await?;
                client
                    .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
                    .await?;
            }
        }
        match world.say(0, TYPES).await {
            true => Ok(world),
            false => Err(Trouble::new(world.story.text())),
        }
    }

    /// Takes away whatever another history has left on the server, but perhaps the database itself.
    async fn clear(&mut self, but_database: bool) -> Result<(), Trouble> {
        let client = self.rig.hand("postgres").await?;
        let held = "SELECT gid, database::text FROM pg_catalog.pg_prepared_xacts";
        for row in client.query(held, &[]).await? {
            let (gid, database): (String, String) = (row.get(0), row.get(1));
            let there = self.rig.hand(&database).await?;
            there
                .batch_execute(&format!("ROLLBACK PREPARED '{gid}'"))
                .await?;
        }
        let left = "SELECT datname::text FROM pg_catalog.pg_database
                    WHERE NOT datistemplate AND datname <> 'postgres'";
        client.batch_execute("SET lock_timeout = 0").await?;
        for row in client.query(left, &[]).await? {
            let name: String = row.get(0);
            if name != DATABASE || !but_database {
                let drop = format!("DROP DATABASE {} WITH (FORCE)", quoted(&name));
                client.batch_execute(&drop).await?;
            }
        }
        Ok(())
    }

    /// Empties the database.
    async fn tidy(&mut self) -> Result<(), Trouble> {
        let client = self.rig.hand(DATABASE).await?;
        let schemas = "SELECT 'DROP SCHEMA ' || quote_ident(nspname) || ' CASCADE'
            FROM pg_catalog.pg_namespace
            WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'";
        client.batch_execute("SET lock_timeout = '5s'").await?;
        for row in client.query(schemas, &[]).await? {
            client.batch_execute(&row.get::<_, String>(0)).await?;
        }
        let rest = "CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC;
            SELECT lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata";
        client.batch_execute(rest).await?;
        Ok(())
    }

    /// A number that this history has not had yet.
    pub fn fresh(&mut self) -> usize {
        self.counter += 1;
        self.counter
    }

    /// The first of so many numbers that no row of this history has yet.
    pub fn numbers(&mut self, many: usize) -> usize {
        let first = self.counter + 1;
        self.counter += many;
        first
    }

    /// Notes a step.
    pub fn tell(&mut self, text: impl Into<String>) {
        self.story.tell(&text.into());
    }

    async fn client(&mut self, hand: usize) -> Result<&Client, Trouble> {
        let closed = |client: &Client| client.is_closed();
        if self.hands[hand].client.as_ref().is_none_or(closed) {
            let client = self.rig.hand(DATABASE).await?;
            self.hands[hand] = Hand {
                client: Some(client),
                open: false,
            };
        }
        let client = self.hands[hand].client.as_ref();
        client.ok_or_else(|| Trouble::new("a session that was just opened is gone"))
    }

    /// Runs statements in a session. Many moves fail, since others stand in their way: that is no
    /// failure of the history. A transaction that was open is rolled back then.
    pub async fn say(&mut self, hand: usize, sql: &str) -> bool {
        let done = match self.client(hand).await {
            Ok(client) => client.batch_execute(sql).await.map_err(Trouble::from),
            Err(error) => Err(error),
        };
        let outcome = match &done {
            Ok(()) => String::new(),
            Err(error) => format!("  -- {error}"),
        };
        self.tell(format!("{hand}: {sql}{outcome}"));
        if done.is_err() {
            if let Ok(client) = self.client(hand).await {
                // Outside of a transaction it is a warning only.
                client.batch_execute("ROLLBACK").await.ok();
            }
            self.hands[hand].open = false;
        }
        done.is_ok()
    }

    /// Copies rows of `id` and `pad` into a table: COPY extends it by more blocks than it fills.
    pub async fn copy_in(&mut self, hand: usize, table: &Table, rows: usize) {
        let first = self.numbers(rows);
        let text: String = (first..first + rows)
            .map(|id| format!("{id}\t{}\n", "copied ".repeat(60)))
            .collect();
        let sql = format!("COPY {} (id, pad) FROM STDIN", table.sql());
        let copied = async {
            let client = self.client(hand).await?;
            let mut sink = pin!(client.copy_in(&sql).await?);
            sink.send(Bytes::from(text)).await?;
            sink.finish().await?;
            Ok::<_, Trouble>(())
        };
        let outcome = match copied.await {
            Ok(()) => String::new(),
            Err(error) => format!("  -- {error}"),
        };
        self.tell(format!("{hand}: {sql}, {rows} rows{outcome}"));
    }

    /// Begins a transaction that stays open.
    pub async fn begin(&mut self, hand: usize) -> bool {
        if !self.hands[hand].open {
            self.hands[hand].open = self.say(hand, "BEGIN").await;
        }
        self.hands[hand].open
    }

    /// Ends the open transaction of a session: COMMIT, ROLLBACK, PREPARE TRANSACTION.
    pub async fn end(&mut self, hand: usize, how: &str) {
        if std::mem::take(&mut self.hands[hand].open) {
            self.say(hand, how).await;
        }
    }

    /// A session with an open transaction.
    pub fn held(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..HANDS).filter(|hand| self.hands[*hand].open).collect();
        (!open.is_empty()).then(|| *self.dice.pick(&open))
    }

    /// A session without an open transaction; the first one never has one.
    pub fn free(&mut self) -> usize {
        let free: Vec<usize> = (0..HANDS).filter(|hand| !self.hands[*hand].open).collect();
        *self.dice.pick(&free)
    }

    /// A session that may hold a transaction open.
    pub fn holder(&mut self) -> usize {
        self.dice.between(1, HANDS - 1)
    }

    /// Closes all sessions, whose open transactions are gone then.
    pub fn let_go(&mut self) {
        self.hands = (0..HANDS).map(|_| Hand::default()).collect();
    }

    /// Runs statements in another database, one after the other, with all sessions of this one closed.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub async fn maintain(&mut self, sql: &str) -> Result<(), Trouble> {
        self.let_go();
        self.rig.spoil();
        let client = self.rig.hand("postgres").await?;
        client.batch_execute("SET lock_timeout = '2s'").await?;
        for statement in sql.split(';') {
            let done = client.batch_execute(statement).await;
            let outcome = match &done {
                Ok(()) => String::new(),
                Err(error) => format!("  -- {error:?}"),
            };
            self.tell(format!("server: {}{outcome}", statement.trim()));
            done?;
        }
        Ok(())
    }

    /// The first column of the answer, as text.
    pub async fn ask(&mut self, sql: &str) -> Vec<String> {
        let rows = match self.client(0).await {
            Ok(client) => client.query(sql, &[]).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// All tables that moves may change.
    pub async fn tables(&mut self) -> Vec<Table> {
        let rows = match self.client(0).await {
            Ok(client) => client.query(TABLES, &[]).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let table = |row: &tokio_postgres::Row| {
            let (names, types): (Vec<String>, Vec<String>) = (row.get(3), row.get(4));
            Table {
                schema: row.get(0),
                name: row.get(1),
                columns: names.into_iter().zip(types).collect(),
            }
        };
        rows.iter().map(table).collect()
    }

    /// From now on moves like one table best.
    pub async fn like_one(&mut self) {
        let tables = self.tables().await;
        if !tables.is_empty() {
            let liked = self.dice.pick(&tables);
            self.focus = Some((liked.schema.clone(), liked.name.clone()));
        }
    }

    /// A table: the one that moves like best, or any.
    pub async fn table(&mut self) -> Option<Table> {
        let tables = self.tables().await;
        if tables.is_empty() {
            return None;
        }
        let focus = self.focus.clone();
        let liked = tables
            .iter()
            .find(|table| focus.as_ref() == Some(&(table.schema.clone(), table.name.clone())));
        match liked {
            Some(table) if self.dice.chance(60) => Some(table.clone()),
            _ => Some(self.dice.pick(&tables).clone()),
        }
    }

    /// Stops the server in order and starts it.
    ///
    /// # Errors
    /// What the files say.
    pub fn restart(
        &mut self,
        between: impl FnOnce(&Rig) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        self.let_go();
        self.disturbed = true;
        self.rig.spoil();
        let rig = self.rig.clone();
        tokio::task::block_in_place(|| {
            rig.server.stop();
            let done = between(&rig);
            rig.server.restart();
            done
        })
    }

    /// SIGKILL to one session: the server throws all others out too, and recovers by itself.
    pub(crate) async fn kill_one(&mut self) -> Result<(), Trouble> {
        self.disturbed = true;
        let pid = self.ask("SELECT pg_backend_pid()::text").await;
        let rig = self.rig.clone();
        let killed = tokio::task::block_in_place(|| rig.kill(&pid));
        self.let_go();
        killed
    }

    /// SIGKILL to all of the server, and a start with recovery.
    ///
    /// # Errors
    /// What the files say.
    pub fn crash(
        &mut self,
        between: impl FnOnce(&Rig) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        self.disturbed = true;
        let rig = self.rig.clone();
        let done = tokio::task::block_in_place(|| {
            rig.server.crash();
            let done = between(&rig);
            rig.server.restart();
            done
        });
        self.let_go();
        done
    }
}
