//! A real PostgreSQL server for one test.
//!
//! ```no_run
//! # async fn example() -> Result<(), tokio_postgres::Error> {
//! use testkit::postgres::Server;
//!
//! let server = Server::version(17).setting("summarize_wal", "on").start();
//! server.psql("postgres", "CREATE DATABASE shop");
//! let client = server.connect("shop").await;
//! client.batch_execute("CREATE TABLE item (id int)").await?;
//! server.crash();
//! server.restart();
//! # Ok(())
//! # }
//! ```
//!
//! The data directory is a copy of one that initdb made once, so a server is there in a fifth of a
//! second. It listens on a Unix socket in a short temporary directory and, with
//! [`tcp`](ServerBuilder::tcp), on a free port of 127.0.0.1. It ends with the test, even one
//! that is killed; where the test panics, the end of the server's log is printed.

mod access;
mod cluster;
mod installation;
mod process;

pub use access::Roles;
pub use installation::sample;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use cluster::Recipe;
use installation::{Account, Installation};
use process::{Postmaster, Watchdog, tail};

/// The versions that the product supports and that the set-up brings.
pub const VERSIONS: [u32; 5] = [14, 15, 16, 17, 18];

/// The superuser of every server: over the socket it needs no password.
pub const SUPERUSER: &str = "postgres";

/// The superuser's password, which TCP connections need (scram-sha-256).
pub const SUPERUSER_PASSWORD: &str = "a superuser of tests";

/// The port in the name of the socket where no TCP is asked for.
const SOCKET_PORT: u16 = 5432;

/// What a server should be like; made by [`Server::version`].
#[derive(Debug, Clone)]
#[must_use = "nothing runs before `start`"]
pub struct ServerBuilder {
    version: u32,
    settings: Vec<(String, String)>,
    initdb_flags: Vec<String>,
    tcp: bool,
    fresh: bool,
    durable: bool,
    in_memory: bool,
}

impl ServerBuilder {
    /// A line of `postgresql.conf`; a later one wins.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// One more argument of initdb, as `--data-checksums`; each combination is made once and kept.
    pub fn initdb_flag(mut self, flag: &str) -> Self {
        self.initdb_flags.push(flag.into());
        self
    }

    /// Listens on 127.0.0.1 too, with passwords.
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// With a system identifier of its own: all others of a version share theirs.
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// With `fsync = on`, which is off for speed.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// With its files in memory, where the machine has a file system for that: waiting for a disk is left
    /// out. A crash of the server loses the same as elsewhere.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Starts it and waits until it takes connections.
    pub fn start(self) -> Server {
        let installation = Installation::of(self.version);
        let account = Account::needed();
        // Not TMPDIR: a socket's whole path must fit into 107 bytes.
        let memory = Path::new("/dev/shm");
        let place = match self.in_memory && memory.is_dir() {
            true => memory,
            false => Path::new("/tmp"),
        };
        let home = tempfile::Builder::new()
            .prefix("bs")
            .tempdir_in(place)
            .expect("a directory for a server can be made")
            .keep();
        let watchdog = Watchdog::over(&home);
        if let Some(account) = account {
            account.own(&home);
        }
        let data = home.join("data");
        let recipe = Recipe {
            version: self.version,
            installation: &installation,
            account,
            flags: &self.initdb_flags,
        };
        if self.fresh {
            recipe.initdb(&data);
        } else {
            recipe.copy_to(&data);
        }
        let server = Server {
            version: self.version,
            installation,
            account,
            tcp: self.tcp,
            port: AtomicU16::new(SOCKET_PORT),
            home,
            running: Mutex::new(None),
            _watchdog: watchdog,
        };
        server.configure(&self);
        server.boot();
        server
    }
}

/// A PostgreSQL server that ends with this value.
#[derive(Debug)]
pub struct Server {
    version: u32,
    installation: Installation,
    account: Option<Account>,
    tcp: bool,
    port: AtomicU16,
    home: PathBuf,
    running: Mutex<Option<Postmaster>>,
    // Last: its end removes `home`.
    _watchdog: Watchdog,
}

impl Server {
    /// A server of that major version, 14 to 18, still to be described and started.
    pub fn version(version: u32) -> ServerBuilder {
        ServerBuilder {
            version,
            settings: Vec::new(),
            initdb_flags: Vec::new(),
            tcp: false,
            fresh: false,
            durable: false,
            in_memory: false,
        }
    }

    /// Stops it (*fast*) where it runs, and starts it: after [`set`](Self::set), a crash or a stop.
    pub fn restart(&self) {
        self.stop();
        self.boot();
    }

    /// Stops it in order (*fast*): sessions are ended and a checkpoint is written.
    pub fn stop(&self) {
        if let Some(postmaster) = self.take() {
            postmaster.stop("INT");
        }
    }

    /// SIGKILL to all its processes; [`restart`](Self::restart) then recovers from the WAL.
    pub fn crash(&self) {
        self.take().expect("the server runs").kill();
    }

    /// SIGSTOP to all its processes: connections stay open and nothing answers.
    pub fn pause(&self) {
        let running = self.running.lock().unwrap();
        running.as_ref().expect("the server runs").pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        let running = self.running.lock().unwrap();
        running.as_ref().expect("the server runs").resume();
    }

    /// A line of `postgresql.conf`, in force after a [`restart`](Self::restart).
    pub fn set(&self, name: &str, value: &str) {
        self.write_settings(&[(name, value)]);
    }

    /// Its major version.
    pub fn major(&self) -> u32 {
        self.version
    }

    /// The data directory. The tests may change files in it while the server is stopped.
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The directory of its Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.home
    }

    /// The port: of TCP where that was asked for, and in the name of the socket.
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// The directory with psql, pg_dump, pg_restore, pg_dumpall and pgbench that fit this server.
    pub fn tools_dir(&self) -> &Path {
        self.installation.tools()
    }

    /// All that the server has logged.
    pub fn log(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.home.join("log")
    }

    fn take(&self) -> Option<Postmaster> {
        self.running.lock().unwrap().take()
    }

    fn boot(&self) {
        // Between finding a free port and listening on it another test may take it.
        for attempt in 1.. {
            if self.tcp {
                self.choose_port();
            }
            match self.try_to_boot() {
                Ok(postmaster) => {
                    *self.running.lock().unwrap() = Some(postmaster);
                    return;
                }
                Err(reason) if self.tcp && attempt < 5 && reason.contains("in use") => {}
                // The kernel has not yet taken all from the processes that were killed.
                Err(reason) if attempt < 20 && reason.contains("shared memory block") => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(reason) => panic!("PostgreSQL {} did not start: {reason}", self.version),
            }
        }
    }

    fn try_to_boot(&self) -> Result<Postmaster, String> {
        Postmaster::start(
            &self.installation.server_program("postgres"),
            self.account,
            &self.data_dir(),
            &self.log_file(),
        )
    }

    /// Keeps the port over a restart while it is free, so that URLs stay good.
    fn choose_port(&self) {
        let listener = match self.port() {
            SOCKET_PORT => TcpListener::bind("127.0.0.1:0"),
            last => {
                TcpListener::bind(("127.0.0.1", last)).or_else(|_| TcpListener::bind("127.0.0.1:0"))
            }
        };
        let free = listener
            .and_then(|listener| listener.local_addr())
            .expect("a free port on 127.0.0.1");
        if free.port() != self.port() {
            self.port.store(free.port(), Ordering::Relaxed);
            self.set("port", &free.port().to_string());
        }
    }

    fn configure(&self, wanted: &ServerBuilder) {
        let socket = self.home.display().to_string();
        let fsync = if wanted.durable { "on" } else { "off" };
        let mut settings = vec![
            ("listen_addresses", if self.tcp { "127.0.0.1" } else { "" }),
            ("unix_socket_directories", &socket),
            ("shared_buffers", "16MB"),
            ("fsync", fsync),
            ("jit", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        settings.extend(
            wanted
                .settings
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str())),
        );
        self.write_settings(&settings);
    }

    fn write_settings(&self, settings: &[(&str, &str)]) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(self.data_dir().join("postgresql.conf"))
            .expect("postgresql.conf can be written");
        for (name, value) in settings {
            let value = value.replace('\'', "''");
            writeln!(file, "{name} = '{value}'").expect("postgresql.conf can be written");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = tail(&self.log_file());
            eprintln!("the end of the log of PostgreSQL {}:\n{log}", self.version);
        }
        let running = match self.running.get_mut() {
            Ok(running) => running.take(),
            Err(poisoned) => poisoned.into_inner().take(),
        };
        if let Some(postmaster) = running {
            postmaster.stop("QUIT");
        }
    }
}

#[cfg(test)]
mod tests;
