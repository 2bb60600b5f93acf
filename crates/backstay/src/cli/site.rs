//! `backstay site …`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use model::{ExposeSecret, SecretString, SiteType};
use serde_json::{Value, json};

use crate::cli::adopt::AdoptArgs;
use crate::cli::{Context, vault_option, without_nulls};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{self, remark, text};
use crate::secret_input;

#[derive(Debug, Subcommand)]
pub(crate) enum SiteCommand {
    /// Make a site and its vault
    Add(Box<AddArgs>),
    /// Bring a site back from its vault and its recovery key: site, jobs and savesets
    Adopt(Box<AdoptArgs>),
    /// All sites
    List,
    /// One site
    Show {
        /// The site's id
        site: String,
    },
    /// Look at the connection, the rights and the vault; say what is missing
    Check {
        /// The site's id
        site: String,
        /// Print only what mends it: SQL and settings, each with what is lost without it
        #[arg(long)]
        grants: bool,
    },
    /// Show the recovery key again (administrators)
    RecoveryKey {
        /// The site's id
        site: String,
    },
    /// Delete a site that has no jobs; its vault is not touched
    Delete {
        /// The site's id
        site: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The site's id: letters, digits, dots, underscores and hyphens; never changed
    site: String,
    /// What kind of database system it is: postgresql or sqlite
    #[arg(long = "type", value_name = "TYPE", value_parser = site_type)]
    site_type: SiteType,
    /// PostgreSQL: postgres://USER@HOST:PORT/DATABASE, without a password
    #[arg(long, value_name = "URL", required_if_eq("site_type", "postgresql"))]
    #[arg(conflicts_with = "path")]
    url: Option<String>,
    /// SQLite: the directory of the database files, absolute, on the server
    #[arg(long, value_name = "DIR", required_if_eq("site_type", "sqlite"))]
    path: Option<PathBuf>,
    /// Where the savesets go: a directory on the server, absolute, or file:///…, s3://BUCKET/PATH,
    /// az://CONTAINER/PATH, gs://BUCKET/PATH
    #[arg(long, value_name = "DIR|URL")]
    vault: String,
    /// What the vault's store is told, as region=eu-central-1; a secret is read from a file, as
    /// secret_access_key=@FILE. May be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    vault_option: Vec<String>,
    /// A file that holds the database password; else PGPASSWORD or a prompt
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Streams of one job [default: 2]
    #[arg(long, value_name = "N")]
    soft_limit: Option<u32>,
    /// Streams of all jobs of the site together [default: 4]
    #[arg(long, value_name = "N")]
    hard_limit: Option<u32>,
    /// End a run whose snapshot becomes older [default: never]
    #[arg(long, value_name = "MINUTES")]
    max_snapshot_minutes: Option<u32>,
}

fn site_type(text: &str) -> Result<SiteType, String> {
    text.parse()
        .map_err(|_| "it must be postgresql or sqlite".to_owned())
}

impl SiteCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        match self {
            SiteCommand::Add(args) => args.run(context).await,
            SiteCommand::Adopt(args) => args.run(context).await,
            SiteCommand::List => list(context).await,
            SiteCommand::Show { site } => {
                let answer = context.client()?.get(&["sites", &site]).send().await?;
                context.output.show(&answer.body, one)?;
                Ok(Exit::Done)
            }
            SiteCommand::Check { site, grants } => check(context, &site, grants).await,
            SiteCommand::RecoveryKey { site } => {
                let client = context.client()?;
                let answer = client
                    .post(&["sites", &site, "recovery-key"])
                    .send()
                    .await?;
                context
                    .output
                    .show(&answer.body, |answer| text(answer, "recovery_key"))?;
                Ok(Exit::Done)
            }
            SiteCommand::Delete { site } => {
                context.client()?.delete(&["sites", &site]).send().await?;
                remark(&format!(
                    "Site {site} is deleted. Its vault was not touched."
                ));
                Ok(Exit::Done)
            }
        }
    }
}

impl AddArgs {
    async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let body = self.body()?;
        let answer = context
            .client()?
            .post(&["sites"])
            .json(&body)
            .send()
            .await?;
        context.output.show(&answer.body, |site| {
            format!(
                "{}\nRecovery key: {}\n\nKeep this key where the vault is not: with it the savesets can be read when this\nserver is lost, and without it and the server nobody can read them.\n",
                one(site),
                text(site, "recovery_key")
            )
        })?;
        Ok(Exit::Done)
    }

    fn body(&self) -> Result<Value, CommandError> {
        let connection = match self.site_type {
            SiteType::Postgresql => self.postgresql()?,
            SiteType::Sqlite => json!({ "path": self.path }),
        };
        let vault = vault_url(&self.vault)?;
        let options = vault_option::read(&vault, &self.vault_option)?;
        Ok(without_nulls(json!({
            "site_id": self.site,
            "site_type": self.site_type,
            "description": self.description,
            "connection": connection,
            "vault": { "url": vault, "options": options },
            "soft_limit": self.soft_limit,
            "hard_limit": self.hard_limit,
            "max_snapshot_minutes": self.max_snapshot_minutes,
        })))
    }

    fn postgresql(&self) -> Result<Value, CommandError> {
        let given = self.url.as_deref().unwrap_or_default();
        let url = parse_url(given, "--url")?;
        let password = match &self.password_file {
            Some(path) => Some(secret_input::from_file(path, "the database password")?),
            None => database_password(&url)?,
        };
        Ok(without_nulls(json!({
            "url": given,
            "password": password.as_ref().map(ExposeSecret::expose_secret),
        })))
    }
}

/// A PostgreSQL URL without a password in it.
///
/// # Errors
/// When it is none; its text is not repeated, it may hold a secret.
pub(crate) fn parse_url(given: &str, flag: &str) -> Result<url::Url, CommandError> {
    let wrong = |why: &str| {
        CommandError::Usage(format!(
            "{flag} is no PostgreSQL URL ({why}): it must look like postgres://USER@HOST:PORT/DATABASE"
        ))
    };
    let url: url::Url = given
        .parse()
        .map_err(|e: url::ParseError| wrong(&e.to_string()))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(wrong("its scheme is another"));
    }
    secret_input::no_password_in(&url, flag, "use PGPASSWORD, --password-file or the prompt")?;
    Ok(url)
}

/// PGPASSWORD, or a prompt; an empty answer is none, for servers that ask for no password.
pub(crate) fn database_password(url: &url::Url) -> Result<Option<SecretString>, CommandError> {
    if let Some(password) = secret_input::from_env("PGPASSWORD") {
        return Ok(Some(password));
    }
    let question = format!(
        "Password of {} at {} (empty: none)",
        url.username(),
        url.host_str()
            .filter(|host| !host.is_empty())
            .unwrap_or("the local server")
    );
    let asked = secret_input::from_prompt(&question, "the database password")?;
    Ok(asked.filter(|password| !password.expose_secret().is_empty()))
}

/// `file://` for a plain directory. It is the server's directory, so that a relative one would
/// mean two places.
pub(crate) fn vault_url(given: &str) -> Result<String, CommandError> {
    if given.contains("://") {
        return Ok(given.to_owned());
    }
    let path = Path::new(given);
    let url = url::Url::from_file_path(path).map_err(|()| {
        CommandError::Usage(format!(
            "--vault {given:?} must be an absolute directory, as /srv/backups/shop, or a URL"
        ))
    })?;
    Ok(url.into())
}

async fn list(context: &Context) -> Result<Exit, CommandError> {
    let sites = context.client()?.all(&["sites"], &[]).await?;
    context.output.show(&Value::Array(sites), |sites| {
        output::table(
            sites,
            "There is no site yet; `backstay site add` makes one.",
            &[
                ("SITE", &|s| text(s, "site_id")),
                ("TYPE", &|s| text(s, "site_type")),
                ("CONNECTION", &|s| {
                    text(&s["connection"], "url") + &text(&s["connection"], "path")
                }),
                ("VAULT", &|s| text(&s["vault"], "url")),
                ("DESCRIPTION", &|s| text(s, "description")),
            ],
        )
    })?;
    Ok(Exit::Done)
}

/// A site for people.
pub(crate) fn one(site: &Value) -> String {
    output::facts(&[
        ("Site", text(site, "site_id")),
        ("Type", text(site, "site_type")),
        ("Description", text(site, "description")),
        ("URL", text(&site["connection"], "url")),
        ("Directory", text(&site["connection"], "path")),
        ("Vault", text(&site["vault"], "url")),
        (
            "Streams",
            format!(
                "{} a job, {} in all",
                text(site, "soft_limit"),
                text(site, "hard_limit")
            ),
        ),
        ("Made", output::time(site, "created_at")),
    ])
}

async fn check(context: &Context, site: &str, grants: bool) -> Result<Exit, CommandError> {
    let client = context.client()?;
    let answer = client.post(&["sites", site, "check"]).send().await?;
    let shown = if grants { remedies } else { report };
    context.output.show(&answer.body, shown)?;
    Ok(verdict(&answer.body))
}

/// What a check of a site means for a script.
pub(crate) fn verdict(report: &Value) -> Exit {
    let findings = report["findings"].as_array().into_iter().flatten();
    let has = |level: &str| findings.clone().any(|f| f["level"] == level);
    match () {
        () if has("ERROR") => Exit::Failed,
        () if has("WARNING") => Exit::Warnings,
        () => Exit::Done,
    }
}

/// A check of a site for people.
pub(crate) fn report(report: &Value) -> String {
    let version = text(report, "version");
    let mut shown = if version.is_empty() {
        version
    } else {
        version + "\n\n"
    };
    shown += &output::table(
        &report["findings"],
        "Nothing was looked at.",
        &[
            ("", &|f| text(f, "level")),
            ("WHAT", &|f| text(f, "what")),
            ("FOUND", &|f| text(f, "detail")),
        ],
    );
    match remedies(report) {
        remedies if remedies.is_empty() => shown,
        remedies => format!("{shown}\nWhat mends it:\n\n{remedies}"),
    }
}

/// Each remedy once, behind everything that it mends, as comments of SQL.
fn remedies(report: &Value) -> String {
    let mut found: Vec<(String, String)> = Vec::new();
    for finding in report["findings"].as_array().into_iter().flatten() {
        let remedy = text(finding, "remedy");
        if remedy.is_empty() {
            continue;
        }
        let why = format!(
            "-- {}: {}\n",
            text(finding, "what"),
            text(finding, "detail")
        );
        match found.iter_mut().find(|(_, same)| *same == remedy) {
            Some((reasons, _)) => *reasons += &why,
            None => found.push((why, remedy)),
        }
    }
    let texts: Vec<String> = found
        .iter()
        .map(|(why, remedy)| format!("{why}{remedy}\n"))
        .collect();
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_is_an_absolute_directory_or_a_url() {
        assert_eq!(vault_url("/srv/a b").unwrap(), "file:///srv/a%20b");
        assert_eq!(vault_url("file:///srv/x").unwrap(), "file:///srv/x");
        assert!(vault_url("backups/shop").is_err());
    }

    #[test]
    fn a_remedy_for_two_things_is_told_once() {
        let finding = |detail: &str, remedy| json!({"level": "WARNING", "what": "role", "detail": detail, "remedy": remedy});
        let check = json!({"findings": [
            finding("no A", Some("GRANT x;")), finding("no B", Some("GRANT x;")), finding("fine", None),
        ]});
        assert_eq!(remedies(&check), "-- role: no A\n-- role: no B\nGRANT x;\n");
        assert_eq!(verdict(&check), Exit::Warnings);
        assert_eq!(verdict(&json!({"findings": []})), Exit::Done);
    }

    #[test]
    fn a_url_that_is_none_is_not_repeated() {
        for bad in [
            "hush",
            "mysql://hush@h/d",
            "postgres://u:hush@h/d",
            "postgres://[hush/",
        ] {
            let error = parse_url(bad, "--url").unwrap_err();
            assert!(!error.to_string().contains("hush"), "{error}");
            assert_eq!(error.exit(), Exit::Usage);
        }
        assert!(parse_url("postgresql://u@h:5432/d?sslmode=require", "--url").is_ok());
    }
}
