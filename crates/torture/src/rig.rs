//! The server that many histories are played on, one after the other.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{Connection, SecretString};
use testkit::postgres::{Roles, Server};
use tokio_postgres::Client;

use crate::Trouble;

/// What the server's configuration has beside the defaults of tests. Nothing happens in it by itself,
/// so that a seed plays the same again: no autovacuum, no writer in the background. `fsync` is on.
const SETTINGS: &[(&str, &str)] = &[
    ("summarize_wal", "on"),
    ("autovacuum", "off"),
    ("wal_writer_delay", "10s"),
    ("bgwriter_lru_maxpages", "0"),
    ("checkpoint_timeout", "1h"),
    ("min_wal_size", "16MB"),
    ("max_wal_size", "128MB"),
    ("max_prepared_transactions", "8"),
    ("allow_in_place_tablespaces", "on"),
    ("max_connections", "40"),
    ("log_checkpoints", "off"),
];

/// What every history finds: tablespaces, and an access method that is a heap by another name.
const SET_UP: &str = "
    SET allow_in_place_tablespaces = on;
    CREATE TABLESPACE aside LOCATION '';
    GRANT CREATE ON TABLESPACE aside TO PUBLIC;
    \\c template1
    CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;";

/// How many histories may be played in one database after its first: its catalog grows with each.
const TIMES: usize = 12;

/// A server with `summarize_wal` and `fsync` on.
#[derive(Debug)]
pub struct Rig {
    /// The server.
    pub server: Server,
    /// Its recommended roles.
    pub roles: Roles,
    /// How many histories were played in its database since that was made; `None`: it has to be made.
    pub played: Mutex<Option<usize>>,
}

impl Rig {
    /// Starts one of that major version, 17 or 18.
    pub fn start(version: u32) -> Rig {
        let mut builder = Server::version(version)
            .durable()
            .in_memory()
            .initdb_flag("--wal-segsize=1");
        for (name, value) in SETTINGS {
            builder = builder.setting(name, value);
        }
        let server = builder.start();
        let roles = server.least_rights_role();
        server.psql("postgres", SET_UP);
        Rig {
            server,
            roles,
            played: Mutex::new(None),
        }
    }

    /// Says that the database has to be made anew for the next history.
    pub fn spoil(&self) {
        *self.played.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the database may be used once more.
    pub fn use_again(&self) -> bool {
        let mut played = self.played.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *played;
        let again = before.is_some_and(|before| before < TIMES);
        *played = Some(if again { before.unwrap_or(0) + 1 } else { 0 });
        again
    }

    /// The site as the product sees it: the role that backs up.
    pub fn site(&self) -> Connection {
        Connection::Postgresql {
            url: self.server.url("postgres", self.roles.backup),
            password: Some(SecretString::from(self.roles.password)),
        }
    }

    /// Where a copy of the data directory is kept, and taken from.
    fn copy(&self) -> PathBuf {
        self.server.data_dir().with_file_name("kept")
    }

    /// Copies the data directory of the stopped server.
    ///
    /// # Errors
    /// Where `cp` fails.
    pub fn keep_volume(&self) -> Result<(), Trouble> {
        copy(self.server.data_dir(), self.copy())
    }

    /// Puts the copy in the place of the stopped server's data directory.
    ///
    /// # Errors
    /// Where `cp` fails.
    pub fn set_volume_back(&self) -> Result<(), Trouble> {
        copy(self.copy(), self.server.data_dir())
    }

    /// Removes WAL summaries: the newest ones, the oldest ones, or all; gives how many.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn remove_summaries(&self, newest: usize, of: usize) -> Result<usize, Trouble> {
        let folder = self.server.data_dir().join("pg_wal/summaries");
        let told = |error: std::io::Error| Trouble::new(format!("{}: {error}", folder.display()));
        let entries = std::fs::read_dir(&folder).map_err(told)?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        let doomed = files.iter().rev().skip(newest).take(of);
        let mut removed = 0;
        for file in doomed {
            std::fs::remove_file(file).map_err(told)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Puts the copy in the place of the stopped server's data directory, but WAL summaries stay: what a
    /// machine without `fsync` may find after its power failed.
    ///
    /// # Errors
    /// Where `cp` fails.
    pub fn cut_power(&self) -> Result<(), Trouble> {
        let summaries = self.server.data_dir().join("pg_wal/summaries");
        let aside = self.server.data_dir().with_file_name("summaries");
        copy(summaries.clone(), aside.clone())?;
        self.set_volume_back()?;
        copy(aside, summaries)
    }

    /// SIGKILL to one of the server's sessions, until it takes connections again.
    ///
    /// # Errors
    /// When it does not.
    pub fn kill(&self, session: &[String]) -> Result<(), Trouble> {
        let killed = Command::new("kill").arg("-KILL").args(session).status();
        killed.map_err(|error| Trouble::new(error.to_string()))?;
        for _ in 0..500 {
            std::thread::sleep(Duration::from_millis(20));
            if self.server.try_psql("postgres", "SELECT 1").is_ok() {
                return Ok(());
            }
        }
        Err(Trouble::new("the server does not recover"))
    }

    /// What its sessions do, for a history that does not end.
    pub fn sessions(&self) -> String {
        let sql = "SELECT pid, backend_type, application_name, state, wait_event, backend_xmin,
                query_start, left(query, 200) FROM pg_stat_activity;
            SELECT * FROM pg_get_wal_summarizer_state(), pg_current_wal_insert_lsn(),
                pg_current_wal_flush_lsn(), now();
            SELECT * FROM pg_locks WHERE NOT granted";
        let told = self.server.try_psql("postgres", sql);
        let log = self.server.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("summar") || line.contains("WAL"));
        let lines: Vec<&str> = lines.collect();
        let last = lines[lines.len().saturating_sub(30)..].join("\n");
        format!("{}\n{last}", told.unwrap_or_else(|error| error))
    }

    /// Makes the stopped server begin a timeline of its own when it starts.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn promote(&self) -> Result<(), Trouble> {
        self.settle(&[
            ("restore_command", "false"),
            ("recovery_target_action", "promote"),
        ])?;
        let signal = self.server.data_dir().join("recovery.signal");
        let written = std::fs::write(&signal, "");
        written.map_err(|error| Trouble::new(format!("{}: {error}", signal.display())))?;
        // The server's account removes it.
        let owner = std::fs::metadata(self.server.data_dir());
        let owner = owner.map_err(|error| Trouble::new(error.to_string()))?;
        let (user, group) = (Some(owner.uid()), Some(owner.gid()));
        let given = std::os::unix::fs::chown(&signal, user, group);
        given.map_err(|error| Trouble::new(error.to_string()))
    }

    /// Other settings for the stopped server.
    ///
    /// # Errors
    /// None, so that it may stand where others fail.
    pub fn settle(&self, settings: &[(&str, &str)]) -> Result<(), Trouble> {
        for (name, value) in settings {
            self.server.set(name, value);
        }
        Ok(())
    }

    /// A session of a superuser whose commits are not waited for, and who waits for no lock.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub async fn hand(&self, database: &str) -> Result<Client, Trouble> {
        let client = self.server.connect(database).await;
        let settings = "SET synchronous_commit = off; SET lock_timeout = '15ms';
            SET statement_timeout = '20s'; SET client_min_messages = error";
        client.batch_execute(settings).await?;
        Ok(client)
    }
}

fn copy(from: PathBuf, to: PathBuf) -> Result<(), Trouble> {
    if to.exists() {
        let removed = std::fs::remove_dir_all(&to);
        removed.map_err(|error| Trouble::new(format!("{}: {error}", to.display())))?;
    }
    let copied = Command::new("cp")
        .args(["--archive", "--reflink=auto", "--no-target-directory"])
        .args([&from, &to])
        .status();
    match copied {
        Ok(status) if status.success() => Ok(()),
        other => Err(Trouble::new(format!(
            "{} was not copied: {other:?}",
            from.display()
        ))),
    }
}
