//! `backstay try postgres://…/db`: back up, restore beside, compare.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::cli::{Context, site};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{byte_count, number, remark};
use crate::signals::StopSignals;

mod bench;
mod compare;
mod subject;

use bench::Bench;
use compare::{Comparison, Holdings, holdings};
use subject::Subject;

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

impl TryArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let vault = self.vault.as_deref().map(site::vault_url).transpose()?;
        let subject = Subject::of(&self.url, self.password_file.as_deref()).await?;
        let before = holdings(&subject, &subject.database).await?;
        let mut signals = StopSignals::listen()?;
        let bench = self.bench(context, vault).await?;
        remark(&format!(
            "Trying {} with the server at {}",
            subject.database,
            bench.server()
        ));
        let tried = tokio::select! {
            tried = self.prove(&bench, &subject, &before) => tried,
            () = signals.next() => Err(CommandError::Failed("stopped by a signal".to_owned())),
        };
        // Clearing up comes first, whatever became of the trial.
        let cleared = self.clear_up(&bench, &subject).await;
        let closed = bench.close().await;
        let comparison = tried?;
        cleared.and(closed)?;
        let answer = comparison.answer(&subject.database);
        context.output.show(&answer, |_| comparison.for_people())?;
        Ok(comparison.exit())
    }

    async fn bench(&self, context: &Context, vault: Option<String>) -> Result<Bench, CommandError> {
        if context.chosen_server.is_none() {
            let given = self.pg_bin.iter().flat_map(std::env::split_paths);
            return Bench::own(vault, given.filter(|p| !p.as_os_str().is_empty()).collect()).await;
        }
        let vault = vault.ok_or_else(|| {
            CommandError::Usage(
                "with --server the saveset goes to a directory of that server: name it with --vault"
                    .to_owned(),
            )
        })?;
        Ok(Bench::at(context.client()?, vault))
    }

    /// The trial itself: site, job, backup, restore, comparison.
    async fn prove(
        &self,
        bench: &Bench,
        subject: &Subject,
        before: &Holdings,
    ) -> Result<Comparison, CommandError> {
        let recovery_key = bench.make_site(subject, self.streams).await?;
        if self.vault.is_some() {
            remark(&format!(
                "The vault stays; this recovery key opens it: {recovery_key}"
            ));
        }
        bench.look_first().await?;
        let backup = bench.back_up(subject).await?;
        remark(&format!(
            "Backed up: {} read, {} in the vault",
            byte_count(number(&backup, "bytes_read")),
            byte_count(number(&backup, "backup_set_size")),
        ));
        let restore = bench.restore(subject, &backup).await?;
        remark(&format!("Restored as {}; comparing", subject.scratch));
        let restored = holdings(subject, &subject.scratch).await?;
        let after = holdings(subject, &subject.database).await?;
        let mut comparison = Comparison::of(before, &restored, &after);
        for execution in [&backup, &restore] {
            let warnings = execution["warnings"].as_array().into_iter().flatten();
            let warnings = warnings.filter_map(Value::as_str).map(str::to_owned);
            comparison.warnings.extend(warnings);
        }
        Ok(comparison)
    }

    /// Stops what still runs, and drops the copy if there is one.
    async fn clear_up(&self, bench: &Bench, subject: &Subject) -> Result<(), CommandError> {
        match bench.settle().await? {
            true if self.keep_scratch => {
                remark(&format!("The restored database {} stays.", subject.scratch));
                Ok(())
            }
            true => subject.drop_scratch().await,
            false => Ok(()),
        }
    }
}
