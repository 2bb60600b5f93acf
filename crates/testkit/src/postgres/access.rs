//! Ways into a server: connections, its own tools, the roles that the product recommends.

use std::io::Write;
use std::process::{Command, Stdio};

use tokio_postgres::{Client, NoTls};

use super::{SUPERUSER, SUPERUSER_PASSWORD, Server};

/// The roles with which nearly all tests run, as the product recommends them.
#[derive(Debug, Clone)]
pub struct Roles {
    /// Reads everything and changes nothing: LOGIN, BYPASSRLS, `pg_read_all_data`,
    /// `pg_read_all_stats`, on 15 and later `pg_checkpoint`.
    pub backup: &'static str,
    /// Restores: LOGIN, CREATEDB. The test makes it a member of the owners.
    pub restore: &'static str,
    /// The password of both.
    pub password: &'static str,
}

const ROLES: Roles = Roles {
    backup: "backstay",
    restore: "backstay_restore",
    password: "a role of tests",
};

impl Server {
    /// Connects to a database as the superuser, over the socket.
    pub async fn connect(&self, database: &str) -> Client {
        self.connect_as(database, SUPERUSER).await
    }

    /// Connects to a database as that role, over the socket, where nobody needs a password.
    /// The connection is driven by a task of the current runtime and ends with the client.
    pub async fn connect_as(&self, database: &str, user: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(self.socket_dir())
            .port(self.port())
            .user(user)
            .dbname(database);
        let (client, connection) = config.connect(NoTls).await.unwrap_or_else(|e| {
            panic!(
                "no connection to {database} as {user}: {e:?}\n{}",
                self.log()
            )
        });
        // A server that is crashed on purpose ends it with an error; the client's calls then say so.
        tokio::spawn(connection);
        client
    }

    /// The URL of a database without a password: over TCP where that was asked for, else over
    /// the socket.
    pub fn url(&self, database: &str, user: &str) -> String {
        let host = if self.tcp {
            "127.0.0.1".to_owned()
        } else {
            encode(&self.socket_dir().display().to_string())
        };
        format!(
            "postgres://{}@{host}:{}/{}",
            encode(user),
            self.port(),
            encode(database)
        )
    }

    /// A client program of this server (`psql`, `pg_dump`, `pgbench`, …), set up to reach that
    /// database as the superuser.
    pub fn tool(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.tools_dir().join(program));
        command
            .env("PGHOST", self.socket_dir())
            .env("PGPORT", self.port().to_string())
            .env("PGUSER", SUPERUSER)
            .env("PGPASSWORD", SUPERUSER_PASSWORD)
            .env("PGDATABASE", database)
            .current_dir("/");
        command
    }

    /// Runs a script with psql, stopping at the first error, which fails the test. The answer is
    /// what the statements return: unaligned, without headings.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql)
            .unwrap_or_else(|e| panic!("psql in {database} failed: {e}\n{sql}"))
    }

    /// As [`psql`](Self::psql), with what psql says as the error.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut child = self
            .tool("psql", database)
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"])
            .args(["--set=ON_ERROR_STOP=1", "--file=-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql can be run");
        let mut stdin = child.stdin.take().expect("psql has a standard input");
        let sql = sql.to_owned();
        // Beside the reading: a long script and a long answer would else wait for each other.
        let writer = std::thread::spawn(move || stdin.write_all(sql.as_bytes()));
        let output = child.wait_with_output().expect("psql can be waited for");
        // psql that has stopped at an error reads no further, and its status says so.
        writer.join().expect("the writer does not panic").ok();
        if output.status.success() {
            let answer = String::from_utf8_lossy(&output.stdout);
            Ok(answer.trim_end_matches('\n').to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Runs pgbench to its end, as with `["-i", "-s", "5"]`; gives what it printed.
    pub fn pgbench(&self, database: &str, arguments: &[&str]) -> String {
        self.run_tool("pgbench", database, arguments)
    }

    /// The database's DDL as pg_dump writes it, without what differs from one call to the next:
    /// comments and empty lines, and the random tokens of `\restrict`.
    pub fn dump_schema(&self, database: &str) -> String {
        let text = self.run_tool("pg_dump", database, &["--schema-only"]);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("--"))
            .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
            .collect();
        lines.join("\n")
    }

    /// Makes the recommended roles where they are not there yet.
    pub fn least_rights_role(&self) -> Roles {
        let Roles {
            backup,
            restore,
            password,
        } = ROLES;
        let known = self.psql(
            "postgres",
            &format!("SELECT 1 FROM pg_roles WHERE rolname = '{backup}'"),
        );
        if known.is_empty() {
            let checkpoint = if self.version >= 15 {
                ", pg_checkpoint"
            } else {
                ""
            };
            self.psql(
                "postgres",
                &format!(
                    "CREATE ROLE {backup} LOGIN BYPASSRLS PASSWORD '{password}';
                     GRANT pg_read_all_data, pg_read_all_stats{checkpoint} TO {backup};
                     CREATE ROLE {restore} LOGIN CREATEDB PASSWORD '{password}';"
                ),
            );
        }
        ROLES
    }

    fn run_tool(&self, program: &str, database: &str, arguments: &[&str]) -> String {
        let output = self
            .tool(program, database)
            .args(arguments)
            .output()
            .unwrap_or_else(|e| panic!("{program} cannot be run: {e}"));
        assert!(
            output.status.success(),
            "{program} {arguments:?} in {database} failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Percent-encodes all that a part of a URL cannot hold as it is.
fn encode(part: &str) -> String {
    part.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
