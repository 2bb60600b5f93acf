//! Processes of `backstay`, each in a directory of its own, none seeing the caller's settings.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The first administrator's token of every test's server.
pub const TOKEN: &str = "an-administrator-of-tests-0123456789";

/// How long anything in these tests may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The program, its environment cleared of everything that would configure it.
pub fn backstay(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstay"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("BACKSTAY_") || text.starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", folder)
        .env_remove("XDG_CONFIG_HOME")
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// What a process did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// Runs it to its end.
    pub fn of(command: &mut Command) -> Done {
        let output = command.output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Done {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Done {
        assert!(self.stdout.contains(text), "{text:?} is not in {self:#?}");
        self
    }

    #[track_caller]
    pub fn complains(self, text: &str) -> Done {
        assert!(self.stderr.contains(text), "{text:?} is not in {self:#?}");
        self
    }

    #[track_caller]
    pub fn hides(self, secret: &str) -> Done {
        assert!(
            !self.stdout.contains(secret) && !self.stderr.contains(secret),
            "{secret:?} is in {self:#?}"
        );
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// A server at work; it ends with the test.
pub struct Server {
    child: Child,
    // Held: a server whose output nobody takes would fail to write.
    _stdout: BufReader<ChildStdout>,
    /// What it said before it listened.
    pub said: Vec<String>,
    /// Its URL.
    pub url: String,
    folder: TempDir,
}

impl Server {
    pub fn start() -> Server {
        Server::start_in(tempfile::tempdir().unwrap(), &|command| {
            command.env("BACKSTAY_ADMIN_TOKEN", TOKEN);
        })
    }

    /// In a folder that may have been used before.
    pub fn start_in(folder: TempDir, adjust: &dyn Fn(&mut Command)) -> Server {
        Server::start_at("127.0.0.1:0", folder, adjust)
    }

    /// At that address.
    pub fn start_at(listen: &str, folder: TempDir, adjust: &dyn Fn(&mut Command)) -> Server {
        let mut command = backstay(folder.path());
        let mut log = std::fs::File::options();
        let log = log
            .create(true)
            .append(true)
            .open(folder.path().join("log"))
            .unwrap();
        command.args(["serve", "--data-dir", "data", "--listen", listen]);
        adjust(&mut command);
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = Vec::new();
        let url = loop {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).unwrap();
            assert!(read > 0, "the server ended: {}", read_log(folder.path()));
            said.push(line.trim_end().to_owned());
            if let Some(url) = line.trim_end().strip_prefix("Listening on ") {
                break url.to_owned();
            }
        };
        Server {
            child,
            _stdout: stdout,
            said,
            url,
            folder,
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// That path as the process sees it, which may have disks of its own.
    pub fn sees(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    pub fn log(&self) -> String {
        read_log(self.folder())
    }

    /// A client's command against it, with the administrator's token in the environment.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = backstay(self.folder());
        command
            .env("BACKSTAY_SERVER", &self.url)
            .env("BACKSTAY_TOKEN", TOKEN)
            .args(arguments);
        command
    }

    /// Runs one.
    pub fn run(&self, arguments: &[&str]) -> Done {
        Done::of(&mut self.client(arguments))
    }

    /// Runs one for its JSON answer; it must be done without complaint.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> Value {
        let done = Done::of(self.client(arguments).args(["--output", "json"]));
        done.exits(0).json()
    }

    /// Asks it to end, as a service manager does, and waits.
    pub fn terminate(self) -> (ExitStatus, TempDir) {
        self.ended_by("TERM")
    }

    /// Sends a signal that ends it, and waits.
    pub fn ended_by(mut self, signal: &str) -> (ExitStatus, TempDir) {
        self.signal(signal);
        let status = self.wait();
        (status, self.give_up())
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// The most memory that it has had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    pub fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                started.elapsed() < LIMIT,
                "the server does not end: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The folder of a server that has ended.
    pub fn give_up(mut self) -> TempDir {
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

fn read_log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// A directory with a SQLite database `shop.db`, in WAL mode, as applications have it.
pub fn sample_databases(folder: &Path) -> PathBuf {
    let databases = folder.join("databases");
    std::fs::create_dir_all(&databases).unwrap();
    let database = rusqlite::Connection::open(databases.join("shop.db")).unwrap();
    let statements = "PRAGMA journal_mode = WAL;
        CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL, picture BLOB);
        CREATE INDEX item_name ON item (name);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        INSERT INTO item SELECT i, 'item ' || i, i * 1.25, randomblob(i % 60) FROM n;";
    database.execute_batch(statements).unwrap();
    databases
}
