//! Where the set-up has put the servers, and the user that runs them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::set_up::{SET_UP, cache, we_are_root};

/// The user made by the set-up where the tests run as root.
const SERVER_USER: &str = "backstay-test";

/// The newest version whose tools serve the versions that come without any.
const VERSION_WITH_TOOLS: u32 = 17;

/// One version of PostgreSQL on this machine.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    bin: PathBuf,
    tools: PathBuf,
}

impl Installation {
    /// Finds a version; a missing one fails the test.
    pub(super) fn of(version: u32) -> Self {
        let bin = bin_of(version);
        let tools = if bin.join("pg_dump").exists() {
            bin.clone()
        } else {
            bin_of(VERSION_WITH_TOOLS)
        };
        Installation { bin, tools }
    }

    /// A program of the server: postgres, initdb.
    pub(super) fn server_program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The directory with psql, pg_dump, pg_restore, pg_dumpall, pgbench that fit this server.
    pub(super) fn tools(&self) -> &Path {
        &self.tools
    }
}

/// A public database as SQL for psql, as the set-up has fetched it: `musicbrainz`, `zabbix`.
pub fn sample(name: &str) -> String {
    let file = cache().join(format!("samples/{name}.sql"));
    fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("no database {name}, {SET_UP}: {}: {e}", file.display()))
}

fn bin_of(version: u32) -> PathBuf {
    let list = cache().join("postgres/versions");
    let text = fs::read_to_string(&list)
        .unwrap_or_else(|e| panic!("no PostgreSQL for tests, {SET_UP}: {}: {e}", list.display()));
    let wanted = version.to_string();
    let bin = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(have, _)| *have == wanted)
        .map(|(_, bin)| PathBuf::from(bin))
        .unwrap_or_else(|| panic!("no PostgreSQL {version} in {}, {SET_UP}", list.display()));
    assert!(
        bin.join("postgres").exists(),
        "PostgreSQL {version} is no longer in {}, {SET_UP}",
        bin.display()
    );
    bin
}

/// The account that the servers run under: PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The user of the set-up where we are root; nobody else where we are not.
    pub(super) fn needed() -> Option<Self> {
        we_are_root().then(Account::of_the_set_up)
    }

    fn of_the_set_up() -> Self {
        let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
        let fields: Vec<&str> = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&SERVER_USER))
            .unwrap_or_else(|| panic!("the tests run as root and need {SERVER_USER}, {SET_UP}"));
        Account {
            uid: fields[2].parse().expect("a uid in /etc/passwd"),
            gid: fields[3].parse().expect("a gid in /etc/passwd"),
        }
    }

    /// Hands a file or a directory to this account.
    pub(super) fn own(self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .unwrap_or_else(|e| panic!("cannot hand {} over: {e}", path.display()));
    }
}

/// A program that runs as the servers' user, in a directory that it may read.
pub(super) fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some(account) = account {
        // Root's other groups are dropped by the standard library itself.
        command.gid(account.gid).uid(account.uid);
    }
    command
}
