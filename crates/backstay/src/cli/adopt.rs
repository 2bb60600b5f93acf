//! `backstay site adopt`: a site comes back from its vault and its recovery key.

use std::path::PathBuf;

use clap::Args;
use model::ExposeSecret;
use serde_json::{Value, json};

use crate::cli::site::{database_password, one, parse_url, vault_url};
use crate::cli::{Context, vault_option, without_nulls};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::text;
use crate::secret_input;

#[derive(Debug, Args)]
pub(crate) struct AdoptArgs {
    /// Where the vault is: a directory on the server, absolute, or file:///…, s3://BUCKET/PATH,
    /// az://CONTAINER/PATH, gs://BUCKET/PATH
    vault: String,
    /// A file that holds the recovery key, as it was shown when the site was made
    #[arg(long, value_name = "FILE")]
    recovery_key_file: PathBuf,
    /// Take the vault from the server that owns it: that one can then only read
    #[arg(long)]
    take_over: bool,
    /// The site's id here [default: the one that it had]
    #[arg(long, value_name = "ID")]
    site_id: Option<String>,
    /// What the vault's store is told, as region=eu-central-1; a secret is read from a file, as
    /// secret_access_key=@FILE. May be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    vault_option: Vec<String>,
    /// PostgreSQL: postgres://USER@HOST:PORT/DATABASE, without a password [default: as it was]
    #[arg(long, value_name = "URL", conflicts_with = "path")]
    url: Option<String>,
    /// SQLite: the directory of the database files, absolute, on the server [default: as it was]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// A file that holds the database password, which no vault has; else PGPASSWORD or, with --url,
    /// a prompt
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    password_file: Option<PathBuf>,
}

impl AdoptArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let body = self.body()?;
        let client = context.client()?;
        let answer = client.post(&["site-adoptions"]).json(&body).send().await?;
        context.output.show(&answer.body, shown)?;
        Ok(Exit::Done)
    }

    fn body(&self) -> Result<Value, CommandError> {
        let vault = vault_url(&self.vault)?;
        let options = vault_option::read(&vault, &self.vault_option)?;
        let key = secret_input::from_file(&self.recovery_key_file, "the recovery key")?;
        Ok(without_nulls(json!({
            "vault": { "url": vault, "options": options },
            "recovery_key": key.expose_secret(),
            "take_over": self.take_over,
            "site_id": self.site_id,
            "connection": self.connection()?,
        })))
    }

    /// What is not given stays as the vault has it.
    fn connection(&self) -> Result<Option<Value>, CommandError> {
        if let Some(path) = &self.path {
            return Ok(Some(json!({ "path": path })));
        }
        let url = self.url.as_deref().map(|given| parse_url(given, "--url"));
        let url = url.transpose()?;
        let password = match (&self.password_file, &url) {
            (Some(path), _) => Some(secret_input::from_file(path, "the database password")?),
            (None, Some(url)) => database_password(url)?,
            (None, None) => secret_input::from_env("PGPASSWORD"),
        };
        if self.url.is_none() && password.is_none() {
            return Ok(None);
        }
        Ok(Some(without_nulls(json!({
            "url": self.url,
            "password": password.as_ref().map(ExposeSecret::expose_secret),
        }))))
    }
}

fn shown(site: &Value) -> String {
    let mut shown = format!(
        "{}\nAdopted: jobs {}, savesets {}.\n",
        one(site),
        text(site, "jobs"),
        text(site, "savesets")
    );
    for note in site["notes"].as_array().into_iter().flatten() {
        shown.push_str(note.as_str().unwrap_or_default());
        shown.push('\n');
    }
    shown
}
