//! `backstay try postgres://…/db`: back up, restore beside, compare.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use model::{Connection, Credentials, ExposeSecret, SecretString};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::serve::stop_signal;
use crate::cli::{Context, job, site, without_nulls};
use crate::client::Client;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{byte_count, number, remark, text};
use crate::secret_input;
use crate::wait;
use crate::wiring::{self, RunningServer, ServeOptions};

mod compare;

use compare::Comparison;

const STOP_LIMIT: Duration = Duration::from_secs(20);
/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;
/// More scratch databases than that are not ours to add to.
const MOST_SCRATCHES: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    /// The database: postgres://USER@HOST:PORT/DATABASE, without a password
    url: String,
    /// A file that holds the user's password; else PGPASSWORD or a prompt
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Where the saveset goes: a directory of the server, absolute, or file:///… [default: a
    /// temporary one, which goes at the end]
    #[arg(long, value_name = "DIR|URL")]
    vault: Option<String>,
    /// Streams in parallel
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    streams: u32,
    /// Leave the restored database there instead of dropping it
    #[arg(long)]
    keep_scratch: bool,
    /// Directories searched first for pg_dump and pg_restore, colon between
    #[arg(long, env = "BACKSTAY_PG_BIN", value_name = "DIRS")]
    pg_bin: Option<std::ffi::OsString>,
}

/// The database that is tried.
struct Subject {
    url: String,
    user: String,
    database: String,
    password: Option<SecretString>,
    scratch: String,
}

/// A server to try with: a running one, or one of our own in a temporary directory.
struct Bench {
    client: Client,
    own: Option<(RunningServer, TempDir)>,
    vault: String,
    site: String,
}

impl TryArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let subject = self.subject().await?;
        let before = compare::holdings(&subject, &subject.database).await?;
        let bench = self.bench(context, &subject).await?;
        let tried = tokio::select! {
            tried = self.prove(&bench, &subject, &before) => tried,
            stopped = stop_signal() => {
                stopped.and(Err(CommandError::Failed("stopped by a signal".to_owned())))
            }
        };
        // Clearing up comes first, whatever became of the trial.
        let cleared = self.clear_up(bench, &subject).await;
        let comparison = tried?;
        cleared?;
        context
            .output
            .show(&comparison.answer(&subject.database), |_| {
                comparison.for_people()
            })?;
        Ok(comparison.exit())
    }

    async fn subject(&self) -> Result<Subject, CommandError> {
        let url = site::parse_url(&self.url, "the URL")?;
        let password = match &self.password_file {
            Some(path) => Some(secret_input::from_file(path, "the database password")?),
            None => site::database_password(&url)?,
        };
        let database = decoded(url.path().trim_start_matches('/'));
        let user = decoded(url.username());
        if database.is_empty() || user.is_empty() {
            return Err(CommandError::Usage(
                "the URL must name the user and the database: postgres://USER@HOST:PORT/DATABASE"
                    .to_owned(),
            ));
        }
        let mut subject = Subject {
            url: self.url.clone(),
            user,
            database,
            password,
            scratch: String::new(),
        };
        subject.scratch = subject.free_scratch().await?;
        Ok(subject)
    }

    async fn bench(&self, context: &Context, subject: &Subject) -> Result<Bench, CommandError> {
        let site = format!("try-{}", std::process::id());
        let vault = self.vault.as_deref().map(site::vault_url).transpose()?;
        if context.chosen_server.is_some() {
            let vault = vault.ok_or_else(|| {
                CommandError::Usage(
                    "with --server the saveset goes to a directory of that server: name it with --vault".to_owned(),
                )
            })?;
            let client = context.client()?;
            remark(&format!(
                "Trying {} with the server at {}",
                subject.database,
                client.server()
            ));
            return Ok(Bench {
                client,
                own: None,
                vault,
                site,
            });
        }
        let folder = tempfile::Builder::new()
            .prefix("backstay-try-")
            .tempdir()
            .map_err(|source| CommandError::File {
                doing: "cannot make a directory in",
                path: std::env::temp_dir(),
                source,
            })?;
        let vault = match vault {
            Some(vault) => vault,
            None => site::vault_url(&folder.path().join("vault").to_string_lossy())?,
        };
        let server = wiring::start(self.server_options(folder.path())).await?;
        let token = server.made_token().cloned().ok_or_else(|| {
            CommandError::Failed("a new server made no administrator's token".to_owned())
        })?;
        let client = Client::new(&server.address(), token)?;
        remark(&format!(
            "Trying {} with a server of its own at {}",
            subject.database,
            server.address()
        ));
        Ok(Bench {
            client,
            own: Some((server, folder)),
            vault,
            site,
        })
    }

    fn server_options(&self, folder: &Path) -> ServeOptions {
        let paths = self
            .pg_bin
            .as_ref()
            .map(|paths| std::env::split_paths(paths).collect::<Vec<_>>());
        ServeOptions {
            data_dir: folder.join("data"),
            listen: "127.0.0.1:0".to_owned(),
            insecure_http: false,
            admin_token: None,
            master_key: None,
            pg_bin: paths
                .unwrap_or_default()
                .into_iter()
                .filter(|p| !p.as_os_str().is_empty())
                .collect(),
            parallel_executions: None,
        }
    }

    /// The trial itself: site, job, backup, restore, comparison.
    async fn prove(
        &self,
        bench: &Bench,
        subject: &Subject,
        before: &compare::Holdings,
    ) -> Result<Comparison, CommandError> {
        self.make_site(bench, subject).await?;
        look_first(bench).await?;
        let backup = back_up(bench, subject).await?;
        remark(&format!(
            "Backed up: {} read, {} in the vault",
            byte_count(number(&backup, "bytes_read")),
            byte_count(number(&backup, "backup_set_size")),
        ));
        let restore = restore(bench, subject, &backup).await?;
        remark(&format!("Restored as {}; comparing", subject.scratch));
        let restored = compare::holdings(subject, &subject.scratch).await?;
        let after = compare::holdings(subject, &subject.database).await?;
        let mut comparison = Comparison::of(before, &restored, &after);
        for execution in [&backup, &restore] {
            let warnings = execution["warnings"].as_array().into_iter().flatten();
            comparison
                .warnings
                .extend(warnings.filter_map(Value::as_str).map(str::to_owned));
        }
        Ok(comparison)
    }

    async fn make_site(&self, bench: &Bench, subject: &Subject) -> Result<(), CommandError> {
        let body = json!({
            "site_id": bench.site,
            "site_type": "POSTGRESQL",
            "description": "made by backstay try",
            "connection": without_nulls(json!({
                "url": subject.url,
                "password": subject.password.as_ref().map(ExposeSecret::expose_secret),
            })),
            "vault": { "url": bench.vault, "options": {} },
            "soft_limit": self.streams,
            "hard_limit": self.streams,
        });
        bench.client.post(&["sites"]).json(&body).send().await?;
        Ok(())
    }

    /// Takes away whatever the trial made, as far as it got.
    async fn clear_up(&self, bench: Bench, subject: &Subject) -> Result<(), CommandError> {
        let mut first_error = None;
        match bench.own {
            Some((server, folder)) => {
                // The server first: a restore that still runs would make the scratch again.
                first_error = server.stop(STOP_LIMIT).await.err().map(CommandError::from);
                if let Err(source) = folder.close() {
                    let path = std::env::temp_dir();
                    let doing = "cannot remove the temporary directory in";
                    first_error.get_or_insert(CommandError::File {
                        doing,
                        path,
                        source,
                    });
                }
            }
            None => remark(&format!(
                "Site {} and its job stay on that server; delete them when you have seen enough.",
                bench.site
            )),
        }
        if self.keep_scratch {
            remark(&format!("The restored database {} stays.", subject.scratch));
        } else if let Err(error) = subject.drop_scratch().await {
            first_error.get_or_insert(error);
        }
        first_error.map_or(Ok(()), Err)
    }
}

impl Subject {
    fn connection(&self) -> Connection {
        Connection::Postgresql {
            url: self.url.clone(),
            password: self.password.clone(),
        }
    }

    fn credentials(&self) -> Credentials {
        let password = self
            .password
            .clone()
            .unwrap_or_else(|| SecretString::from(String::new()));
        Credentials {
            user: self.user.clone(),
            password,
        }
    }

    /// `<db>_backstay_try_<n>`, the first that is free.
    async fn free_scratch(&self) -> Result<String, CommandError> {
        let names = (1..=MOST_SCRATCHES).map(|n| scratch_name(&self.database, n));
        let free = engine_postgres::first_free_name(&self.connection(), names).await;
        free.map_err(compare::failed(format!("cannot look at {}", self.database)))?.ok_or_else(|| {
            CommandError::Failed(format!(
                "there are {MOST_SCRATCHES} databases named like {}: drop those that are no longer needed",
                scratch_name(&self.database, 1)
            ))
        })
    }

    async fn drop_scratch(&self) -> Result<(), CommandError> {
        let connection = self.connection();
        let doing = || format!("cannot drop the scratch database {}", self.scratch);
        let free = engine_postgres::first_free_name(&connection, [self.scratch.clone()]).await;
        if free.map_err(compare::failed(doing()))?.is_some() {
            // The restore never got so far.
            return Ok(());
        }
        let dropped = engine_postgres::drop_database(&connection, &self.scratch).await;
        dropped.map_err(compare::failed(doing()))
    }
}

/// What would stop a backup is known before it begins, with the SQL that mends it.
async fn look_first(bench: &Bench) -> Result<(), CommandError> {
    let checked = bench
        .client
        .post(&["sites", &bench.site, "check"])
        .send()
        .await?;
    if site::verdict(&checked.body) == Exit::Failed {
        remark(&site::report(&checked.body));
        return Err(CommandError::Failed(
            "a backup of this database would fail; the list above says why".to_owned(),
        ));
    }
    Ok(())
}

async fn back_up(bench: &Bench, subject: &Subject) -> Result<Value, CommandError> {
    let client = &bench.client;
    let body = json!({
        "name": format!("try {}", subject.database),
        "job_type": "BACKUP",
        "job_settings": { "objects": [job::whole_database(&quoted(&subject.database))] },
    });
    let made = client
        .post(&["sites", &bench.site, "jobs"])
        .json(&body)
        .send()
        .await?;
    let job = made.resource_id.unwrap_or_default();
    let started = client
        .post(&["sites", &bench.site, "jobs", &job, "execute"])
        .send()
        .await?;
    ended_well(
        bench,
        &started.resource_id.unwrap_or_default(),
        "the backup",
    )
    .await
}

async fn restore(bench: &Bench, subject: &Subject, backup: &Value) -> Result<Value, CommandError> {
    let (job, execution) = (text(backup, "job_id"), text(backup, "execution_id"));
    let body = json!({
        "name": format!("try {}", subject.scratch),
        "target_site": bench.site,
        "job_settings": {
            "objects": [job::whole_database(&quoted(&subject.database))],
            "restore_to_a_different_database_on_target_site": quoted(&subject.scratch),
        },
    });
    let path = [
        "sites",
        &bench.site,
        "jobs",
        &job,
        "executions",
        &execution,
        "restores",
    ];
    let credentials = subject.credentials();
    let started = bench
        .client
        .post(&path)
        .json(&body)
        .credentials(Some(&credentials))
        .send()
        .await?;
    ended_well(
        bench,
        &started.resource_id.unwrap_or_default(),
        "the restore",
    )
    .await
}

async fn ended_well(bench: &Bench, execution: &str, what: &str) -> Result<Value, CommandError> {
    let ended = wait::until_ended(&bench.client, &bench.site, execution).await?;
    match wait::exit_of(&ended)? {
        Exit::Done | Exit::Warnings => Ok(ended),
        _ => Err(CommandError::Failed(format!(
            "{what} ended {}: {}",
            text(&ended, "status"),
            text(&ended, "status_detail")
        ))),
    }
}

/// A database's name as the contract takes any: in quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn scratch_name(database: &str, number: u32) -> String {
    let suffix = format!("_backstay_try_{number}");
    let mut end = database.len().min(LONGEST_NAME - suffix.len());
    while !database.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &database[..end])
}

/// Percent signs of a URL undone.
fn decoded(part: &str) -> String {
    let form = format!("x={}", part.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(form.as_bytes())
        .next()
        .map(|(_, v)| v.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_name_fits_whatever_the_database_is_called() {
        assert_eq!(scratch_name("shop", 3), "shop_backstay_try_3");
        let long = scratch_name(&"ä".repeat(40), 1000);
        assert!(
            long.len() <= LONGEST_NAME && long.ends_with("_backstay_try_1000"),
            "{long}"
        );
    }

    #[test]
    fn names_in_a_url_are_decoded() {
        assert_eq!(decoded("a%20b+c%26d&e"), "a b+c&d&e");
        assert_eq!(decoded(""), "");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
