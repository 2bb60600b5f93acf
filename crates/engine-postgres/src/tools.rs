//! PostgreSQL's own programs: finding them, and running them as child processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use model::ExposeSecret;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::connect::{Endpoint, Place, system_roots};
use crate::error::{PostgresError, tail_of};

/// Names a list of directories, separated by colons, that are looked into first.
pub(crate) const DIRECTORIES_VARIABLE: &str = "BACKSTAY_PG_BIN";

/// How much of what a program says is kept for an error or warnings.
const KEPT_OUTPUT: usize = 64 << 10;

/// pg_dump, pg_restore and pg_dumpall of one version, side by side in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PgTools {
    /// Its path.
    pub pg_dump: PathBuf,
    /// Its path.
    pub pg_restore: PathBuf,
    /// Its path.
    pub pg_dumpall: PathBuf,
    /// Their major version.
    pub major: u32,
}

/// Finds programs of a major version that is at least `needed`: first in `directories` (which
/// come from the caller's options), then in those of [`DIRECTORIES_VARIABLE`], then where
/// pg_config says, then in the usual places, where the oldest that suffices is taken.
///
/// # Errors
/// [`PostgresError::ToolMissing`] names the package that brings them.
pub(crate) async fn find(needed: u32, directories: &[PathBuf]) -> Result<PgTools, PostgresError> {
    let mut seen = Vec::new();
    let named = std::env::var_os(DIRECTORIES_VARIABLE).unwrap_or_default();
    let named = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
    for directory in directories.iter().cloned().chain(named) {
        if let Some(tools) = look(&directory, &mut seen).await
            && tools.major >= needed
        {
            return Ok(tools);
        }
    }
    let mut fitting = Vec::new();
    for directory in pg_config_directory()
        .await
        .into_iter()
        .chain(usual_directories())
    {
        if let Some(tools) = look(&directory, &mut seen).await
            && tools.major >= needed
        {
            fitting.push(tools);
        }
    }
    let oldest = fitting.into_iter().min_by_key(|tools| tools.major);
    oldest.ok_or_else(|| missing(needed, &seen))
}

fn missing(needed: u32, seen: &[(PathBuf, u32)]) -> PostgresError {
    let found: Vec<String> = seen
        .iter()
        .map(|(path, major)| format!("version {major} in {}", path.display()))
        .collect();
    PostgresError::ToolMissing {
        program: "pg_dump",
        needed,
        looked: if found.is_empty() {
            "none is here at all".into()
        } else {
            format!("only {}", found.join(", "))
        },
        package: format!("postgresql-client-{needed} (Debian) or postgresql{needed} (RPM)"),
    }
}

/// The three programs in one directory, if they are there and answer.
async fn look(directory: &Path, seen: &mut Vec<(PathBuf, u32)>) -> Option<PgTools> {
    let program = |name: &str| Some(directory.join(name)).filter(|path| path.is_file());
    let (pg_dump, pg_restore) = (program("pg_dump")?, program("pg_restore")?);
    let pg_dumpall = program("pg_dumpall")?;
    let major = major_of(&pg_dump).await?;
    if !seen.iter().any(|(path, _)| path == directory) {
        seen.push((directory.to_owned(), major));
    }
    Some(PgTools {
        pg_dump,
        pg_restore,
        pg_dumpall,
        major,
    })
}

async fn major_of(program: &Path) -> Option<u32> {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

/// `pg_dump (PostgreSQL) 17.2 (Debian 17.2-1)` → 17; `… 19devel` → 19.
fn parse_major(line: &str) -> Option<u32> {
    let (_, version) = line.split_once("(PostgreSQL) ")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

async fn pg_config_directory() -> Option<PathBuf> {
    let mut command = Command::new("pg_config");
    command
        .arg("--bindir")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(directory.trim())).filter(|path| path.is_dir())
}

fn usual_directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for major in 14..=30 {
        directories.push(format!("/usr/lib/postgresql/{major}/bin").into());
        directories.push(format!("/usr/pgsql-{major}/bin").into());
        directories.push(format!("/opt/homebrew/opt/postgresql@{major}/bin").into());
    }
    // /usr/bin on Debian holds wrappers that choose a version by a cluster's settings.
    directories.push("/usr/local/pgsql/bin".into());
    directories.push("/usr/local/bin".into());
    directories.push("/usr/bin".into());
    directories
}

/// A run of one of the programs against a server.
pub(crate) struct ToolRun {
    name: &'static str,
    program: PathBuf,
    command: Command,
}

/// How a run that succeeded ended.
#[derive(Debug, Default)]
pub(crate) struct ToolOutput {
    /// What it said on standard error, cut to its end where it is long: warnings.
    pub stderr: String,
}

impl ToolRun {
    /// `name` is for errors; the connection goes into the environment, where no other user sees
    /// it, and its database is not among it: see [`conninfo_of_database`].
    pub(crate) fn new(
        name: &'static str,
        program: &Path,
        endpoint: &Endpoint,
        application_name: &str,
    ) -> ToolRun {
        let mut command = Command::new(program);
        for (key, _) in std::env::vars_os().filter(|(key, _)| is_libpq_variable(key)) {
            command.env_remove(key);
        }
        command.envs(environment(endpoint, application_name));
        command.stdin(Stdio::null()).kill_on_drop(true);
        ToolRun {
            name,
            program: program.to_owned(),
            command,
        }
    }

    /// A run that talks to no server.
    pub(crate) fn without_server(name: &'static str, program: &Path) -> ToolRun {
        let mut command = Command::new(program);
        for (key, _) in std::env::vars_os().filter(|(key, _)| is_libpq_variable(key)) {
            command.env_remove(key);
        }
        command.env("LC_ALL", "C");
        command.stdin(Stdio::null()).kill_on_drop(true);
        ToolRun {
            name,
            program: program.to_owned(),
            command,
        }
    }

    /// One more argument.
    pub(crate) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.command.arg(argument.into());
        self
    }

    /// The command, for a caller that reads what the program says while it runs.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end. Dropping the future kills it.
    ///
    /// # Errors
    /// When it cannot be started or ends with another status than 0; its own words are in the
    /// error.
    pub(crate) async fn run(self) -> Result<ToolOutput, PostgresError> {
        let name = self.name;
        let (ended, output) = self.run_to_any_end().await?;
        if ended.success() {
            return Ok(output);
        }
        Err(PostgresError::ToolFailed {
            program: name,
            status: ended.to_string(),
            stderr: tail_of(&output.stderr, 4000),
        })
    }

    /// Runs it to its end and leaves it to the caller what its status means.
    pub(crate) async fn run_to_any_end(
        mut self,
    ) -> Result<(std::process::ExitStatus, ToolOutput), PostgresError> {
        let program = self.program.clone();
        let failed = |source| PostgresError::ToolStart {
            program: program.clone(),
            source,
        };
        self.command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child: Child = self.command.spawn().map_err(failed)?;
        let stderr = child.stderr.take();
        let (stderr, status) = tokio::join!(end_of(stderr), child.wait());
        let output = ToolOutput {
            stderr: stderr.map_err(failed)?,
        };
        Ok((status.map_err(failed)?, output))
    }
}

/// Reads to the end and keeps the last [`KEPT_OUTPUT`] bytes: what a program says is bounded by
/// nothing else.
async fn end_of(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        let mut chunk = vec![0; 8192];
        loop {
            let n = pipe.read(&mut chunk).await?;
            if n == 0 {
                break;
            }
            kept.extend_from_slice(&chunk[..n]);
            if kept.len() > 2 * KEPT_OUTPUT {
                kept.drain(..kept.len() - KEPT_OUTPUT);
            }
        }
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// Ours decide, not those of whoever started the server.
fn is_libpq_variable(key: &std::ffi::OsStr) -> bool {
    key.to_str().is_some_and(|key| key.starts_with("PG"))
}

fn environment(endpoint: &Endpoint, application_name: &str) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("PGUSER", endpoint.user().into()),
        ("PGAPPNAME", application_name.into()),
        ("PGSSLMODE", endpoint.mode.as_str().into()),
        (
            "PGCONNECT_TIMEOUT",
            endpoint.timeout().as_secs().max(2).to_string().into(),
        ),
        ("PGOPTIONS", endpoint.options().into()),
        // No other password than the one that is given, and messages that we can read.
        ("PGPASSFILE", "/nonexistent".into()),
        // Our own connections do without Kerberos too.
        ("PGGSSENCMODE", "disable".into()),
        ("LC_ALL", "C".into()),
    ];
    if let Some(password) = &endpoint.password {
        variables.push(("PGPASSWORD", password.expose_secret().into()));
    }
    let root = endpoint.root.clone();
    let root = root.or_else(|| endpoint.mode.verifies().then(system_roots).flatten());
    if let Some(root) = root {
        variables.push(("PGSSLROOTCERT", root.into()));
    }
    let list = |of: fn(&Place) -> OsString| {
        let parts: Vec<OsString> = endpoint.places.iter().map(of).collect();
        parts.join(std::ffi::OsStr::new(","))
    };
    variables.push(("PGHOST", list(host_of)));
    variables.push(("PGPORT", list(port_of)));
    if endpoint
        .places
        .iter()
        .any(|place| !address_of(place).is_empty())
    {
        variables.push(("PGHOSTADDR", list(address_of)));
    }
    variables
}

fn host_of(place: &Place) -> OsString {
    match place {
        Place::Tcp { host, .. } => host.into(),
        Place::Unix { directory, .. } => directory.into(),
    }
}

fn port_of(place: &Place) -> OsString {
    match place {
        Place::Tcp { port, .. } | Place::Unix { port, .. } => port.to_string().into(),
    }
}

fn address_of(place: &Place) -> OsString {
    match place {
        Place::Tcp {
            address: Some(address),
            ..
        } => address.to_string().into(),
        _ => OsString::new(),
    }
}

/// `dbname='…'` for `--dbname`: a name with `=`, quotes or spaces is taken as it is.
pub(crate) fn conninfo_of_database(database: &str) -> String {
    let escaped = database.replace('\\', "\\\\").replace('\'', "\\'");
    format!("dbname='{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Connection, SecretString};

    #[test]
    fn the_major_version_is_read_from_what_a_program_says() {
        let said = "pg_dump (PostgreSQL) 17.2 (Debian 17.2-1.pgdg120+1)\n";
        assert_eq!(parse_major(said), Some(17));
        assert_eq!(parse_major("pg_dump (PostgreSQL) 19devel"), Some(19));
        assert_eq!(parse_major("something else"), None);
    }

    #[tokio::test]
    async fn missing_programs_are_told_with_the_package_that_brings_them() {
        let error = find(99, &[]).await.unwrap_err().to_string();
        assert!(error.contains("postgresql-client-99"), "{error}");
        assert!(error.contains(DIRECTORIES_VARIABLE), "{error}");
    }

    #[test]
    fn the_password_goes_into_the_environment_and_nowhere_else() {
        let connection = Connection::Postgresql {
            url: "postgres://ann@h:7/d".into(),
            password: Some(SecretString::from("s3cret")),
        };
        let endpoint = Endpoint::of(&connection, None).expect("it is a URL");
        let run = ToolRun::new("pg_dump", Path::new("/bin/pg_dump"), &endpoint, "x");
        let command = run.command.as_std();
        assert!(
            command
                .get_args()
                .all(|a| !a.to_string_lossy().contains("s3cret"))
        );
        let set = |key: &str| {
            let mut all = command.get_envs();
            let found = all.find(|(k, _)| k.to_str() == Some(key));
            found.and_then(|(_, v)| v.map(|v| v.to_string_lossy().into_owned()))
        };
        assert_eq!(set("PGPASSWORD").as_deref(), Some("s3cret"));
        assert_eq!(set("PGHOST").as_deref(), Some("h"));
        assert_eq!(set("PGPORT").as_deref(), Some("7"));
    }

    #[test]
    fn a_database_name_is_quoted_for_libpq() {
        assert_eq!(conninfo_of_database(r"a'b\c=d"), r"dbname='a\'b\\c=d'");
    }

    #[tokio::test]
    async fn a_program_that_fails_is_reported_with_its_own_words() {
        let connection = Connection::Postgresql {
            url: "postgres://ann@h:7/d".into(),
            password: None,
        };
        let endpoint = Endpoint::of(&connection, None).expect("it is a URL");
        let run = ToolRun::new("pg_dump", Path::new("/bin/sh"), &endpoint, "x");
        let error = run
            .arg("-c")
            .arg("echo no such thing >&2; exit 3")
            .run()
            .await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("no such thing") && error.contains('3'),
            "{error}"
        );
    }
}
