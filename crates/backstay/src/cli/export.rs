//! `backstay export`: a saveset as plain files, from its vault and the recovery key alone.

mod contents;
mod shown;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use engine_postgres::{PostgresEngine, PostgresOptions};
use engine_sqlite::SqliteEngine;
use flow::{ExportInput, ExportOutcome};
use model::{
    DatabaseSelection, Engine, ExportFormat, ExposeSecret, Fault, ObjectName, SavesetId, Selection,
    SiteType,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;
use vault::{RecoveryKey, Saveset, Unlock, Vault, VaultError};

use crate::cli::chosen::SelectArgs;
use crate::cli::{Context, vault_option};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{self, byte_count};
use crate::secret_input;
use crate::signals::StopSignals;
use shown::Shown;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The vault: a directory, or a URL as file:///srv/vault or s3://bucket/prefix
    #[arg(value_name = "VAULT")]
    vault: String,
    /// The saveset's id; --list without it shows the vault's savesets
    #[arg(required_unless_present = "list")]
    saveset: Option<String>,
    /// A file that holds the recovery key; - is standard input
    #[arg(long, value_name = "FILE")]
    recovery_key_file: PathBuf,
    /// The directory to write into: one that is not there yet, or empty
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    to: Option<PathBuf>,
    #[command(flatten)]
    select: SelectArgs,
    /// How rows are written
    #[arg(long, value_enum, default_value_t)]
    format: FormatArg,
    /// Show the savesets of the vault, or what is in one; write nothing
    #[arg(long, conflicts_with = "to")]
    list: bool,
    /// An option of the vault's store, as region=eu-central-1; a secret one as NAME=@FILE
    #[arg(long, value_name = "NAME=VALUE")]
    vault_option: Vec<String>,
    /// How many ranges of rows are written at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    streams: u8,
    /// A directory with pg_restore, searched first; may be repeated
    #[arg(long, value_name = "DIR")]
    pg_bin: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum FormatArg {
    /// What psql and sqlite3 load again
    #[default]
    Sql,
    /// A CSV file for each table
    Csv,
}

impl ExportArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let vault = self.open_vault().await?;
        let Some(id) = &self.saveset else {
            let savesets = contents::savesets(&vault).await.map_err(in_vault)?;
            context.output.show(&savesets, contents::saveset_table)?;
            return Ok(Exit::Done);
        };
        let saveset = self.open_saveset(&vault, id).await?;
        if self.list {
            let objects = contents::objects(&saveset);
            context.output.show(&objects, contents::object_table)?;
            return Ok(Exit::Done);
        }
        // clap has asked for it.
        let Some(directory) = &self.to else {
            return Err(CommandError::Usage("--to is missing".to_owned()));
        };
        let databases = self.databases(&saveset)?;
        let shown = Arc::new(Shown::new());
        let input = ExportInput {
            engine: self.engine(saveset.manifest().contents.site_type),
            saveset,
            databases,
            directory: directory.clone(),
            format: match self.format {
                FormatArg::Sql => ExportFormat::Sql,
                FormatArg::Csv => ExportFormat::Csv,
            },
            streams: usize::from(self.streams),
            progress: shown.clone(),
        };
        let unit = match input.saveset.manifest().contents.site_type {
            SiteType::Postgresql => "rows",
            SiteType::Sqlite => "pages",
        };
        let outcome = until_stopped(input).await;
        shown.end();
        let outcome = outcome.map_err(|fault| CommandError::Database {
            doing: format!("cannot export saveset {id}"),
            fault: Box::new(fault),
        })?;
        context
            .output
            .show(&summary(directory, &outcome, unit), summary_text)?;
        Ok(if !outcome.errors.is_empty() {
            Exit::Failed
        } else if shown.has_warned() {
            Exit::Warnings
        } else {
            Exit::Done
        })
    }

    async fn open_vault(&self) -> Result<Vault, CommandError> {
        let url = vault_url(&self.vault)?;
        let mut options = BTreeMap::new();
        for (name, value) in vault_option::read(&url, &self.vault_option)? {
            let text = value.as_str().unwrap_or_default().to_owned();
            options.insert(name, text);
        }
        let text = secret_input::from_file(&self.recovery_key_file, "the recovery key")?;
        let key: RecoveryKey = text.expose_secret().trim().parse().map_err(|error| {
            let file = self.recovery_key_file.display();
            CommandError::Usage(format!("{file}: {error}"))
        })?;
        let store = vault::open_vault_store(&url, &options).map_err(in_vault)?;
        let opened = Vault::open(store, Unlock::RecoveryKey(&key)).await;
        opened.map_err(in_vault)
    }

    async fn open_saveset(&self, vault: &Vault, id: &str) -> Result<Saveset, CommandError> {
        let id: SavesetId = id.parse().map_err(|error| {
            CommandError::Usage(format!(
                "{id:?} is no saveset id ({error}); --list without one shows them"
            ))
        })?;
        match vault.open_saveset(id).await {
            Err(VaultError::NoSaveset { .. }) => Err(CommandError::Failed(format!(
                "the vault has no saveset {id}; --list instead of it shows which there are"
            ))),
            opened => opened.map_err(in_vault),
        }
    }

    /// What was asked for, all of it in the saveset; without a flag everything that is in it.
    fn databases(&self, saveset: &Saveset) -> Result<Vec<DatabaseSelection>, CommandError> {
        let there = saveset.databases().iter();
        let there: Vec<ObjectName> = there.map(|database| database.name.clone()).collect();
        let objects = self.select.objects()?;
        if objects.is_empty() {
            return Ok(there.into_iter().map(DatabaseSelection::whole).collect());
        }
        let usage = |what: &dyn Display| CommandError::Usage(what.to_string());
        let wanted = Selection { objects }.by_database(&there);
        let wanted = wanted.map_err(|fault| usage(&fault))?;
        for database in wanted.iter().map(|wanted| &wanted.database) {
            if !there.contains(database) {
                let there: Vec<&str> = there.iter().map(ObjectName::last).collect();
                return Err(CommandError::Usage(format!(
                    "the saveset holds no database {}; it holds {}",
                    database.last(),
                    there.join(", ")
                )));
            }
        }
        flow::all_held(saveset, &wanted).map_err(|missing| {
            CommandError::Usage(format!("{missing}; --list shows everything that it holds"))
        })?;
        Ok(wanted)
    }

    fn engine(&self, site_type: SiteType) -> Arc<dyn Engine> {
        match site_type {
            SiteType::Postgresql => Arc::new(PostgresEngine::new(PostgresOptions {
                tool_directories: self.pg_bin.clone(),
                ..PostgresOptions::default()
            })),
            SiteType::Sqlite => Arc::new(SqliteEngine::new()),
        }
    }
}

/// A signal ends the export in order: nothing half-written stays.
async fn until_stopped(input: ExportInput) -> Result<ExportOutcome, flow::FlowError> {
    let cancel = CancellationToken::new();
    let listening = cancel.clone();
    let signals = tokio::spawn(async move {
        // Where the system gives no signals, the program is simply ended by them.
        if let Ok(mut signals) = StopSignals::listen() {
            signals.next().await;
            listening.cancel();
        }
    });
    let outcome = flow::export(input, cancel).await;
    signals.abort();
    outcome
}

fn in_vault(error: VaultError) -> CommandError {
    CommandError::Database {
        doing: "cannot read the vault".to_owned(),
        fault: Box::new(error),
    }
}

/// A path becomes the URL of its directory. One that is not there is never made.
fn vault_url(text: &str) -> Result<String, CommandError> {
    let no_directory = |path: &Path, source| CommandError::File {
        doing: "cannot open the vault's directory",
        path: path.to_owned(),
        source,
    };
    if !text.contains("://") {
        let path = std::fs::canonicalize(text).map_err(|e| no_directory(Path::new(text), e))?;
        let url = Url::from_directory_path(&path).map_err(|()| {
            CommandError::Usage(format!("{} is no directory of a vault", path.display()))
        })?;
        return Ok(url.into());
    }
    // What is no URL is for the vault to complain of.
    let path = Url::parse(text).ok().filter(|url| url.scheme() == "file");
    if let Some(Ok(path)) = path.map(|url| url.to_file_path()) {
        std::fs::read_dir(&path).map_err(|e| no_directory(&path, e))?;
    }
    Ok(text.to_owned())
}

fn summary(directory: &Path, outcome: &ExportOutcome, unit: &str) -> Value {
    let databases: Vec<Value> = outcome
        .databases
        .iter()
        .map(|database| {
            json!({
                "database": database.name.last(),
                "directory": directory.join(&database.directory).display().to_string(),
            })
        })
        .collect();
    json!({
        "databases": databases,
        unit: outcome.rows,
        "bytes_read": outcome.bytes_read,
        "errors": outcome.errors,
    })
}

fn summary_text(summary: &Value) -> String {
    let mut lines = Vec::new();
    for database in summary["databases"].as_array().into_iter().flatten() {
        lines.push(format!(
            "{} is in {}",
            output::text(database, "database"),
            output::text(database, "directory")
        ));
    }
    let unit = if summary["pages"].is_null() {
        "rows"
    } else {
        "pages"
    };
    lines.push(format!(
        "{} {unit}; {} read from the vault, every byte of it checked.",
        output::number(summary, unit),
        byte_count(output::number(summary, "bytes_read"))
    ));
    for error in summary["errors"].as_array().into_iter().flatten() {
        lines.push(format!("Error: {}", error.as_str().unwrap_or_default()));
    }
    lines.join("\n") + "\n"
}

/// Used by the parts below.
fn sentence(fault: &dyn Fault) -> String {
    fault.sentence()
}
