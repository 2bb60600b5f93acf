//! `backstay serve`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use model::ExposeSecret;
use serde_json::json;

use crate::cli::{Context, DEFAULT_LISTEN};
use crate::config::LogFormat;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{remark, text};
use crate::signals::StopSignals;
use crate::wiring::{self, ServeOptions};
use crate::{log, secret_input};

/// How long runs and answers may take to end when the server is told to.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The flags that `[serve]` and `BACKSTAY_*` have too.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where the catalog and the master key live; made where it is missing
    #[arg(long, env = "BACKSTAY_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8610]
    #[arg(long, env = "BACKSTAY_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Serve plain http on an address that others can reach: tokens then travel in clear
    #[arg(long, env = "BACKSTAY_INSECURE_HTTP", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    insecure_http: Option<bool>,
    /// Directories searched first for pg_dump and pg_restore, colon between
    #[arg(long, env = "BACKSTAY_PG_BIN", value_name = "DIRS")]
    pg_bin: Option<OsString>,
    /// How many executions run at once, over all sites [default: 8]
    #[arg(long, env = "BACKSTAY_PARALLEL_EXECUTIONS", value_name = "N")]
    parallel_executions: Option<usize>,
    /// What is logged, as info or info,jobs=debug [default: info]
    #[arg(long, env = log::LOG_ENV, value_name = "FILTER")]
    log: Option<String>,
    /// How a log line looks [default: text]
    #[arg(long, env = "BACKSTAY_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl ServeArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let file = &context.file.serve;
        let filter = self
            .log
            .as_deref()
            .filter(|text| !text.is_empty())
            .or(file.log.as_deref());
        log::start(
            filter,
            self.log_format.or(file.log_format).unwrap_or_default(),
        )?;
        let options = self.options(context)?;
        let mut signals = StopSignals::listen()?;
        let data_dir = options.data_dir.display().to_string();
        let mut server = tokio::select! {
            started = wiring::start(options) => started?,
            () = signals.next() => {
                return Err(CommandError::Failed("stopped by a signal before it was up".to_owned()));
            }
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            address = server.address(),
            data_dir,
            "the server is up"
        );
        let answer = json!({
            "address": server.address(),
            "administrator_token": server.made_token().map(ExposeSecret::expose_secret),
        });
        context.output.show(&answer, |answer| {
            let token = text(answer, "administrator_token");
            let first = match token.is_empty() {
                true => String::new(),
                false => format!("Administrator token, shown this once: {token}\n"),
            };
            format!("{first}Listening on {}\n", text(answer, "address"))
        })?;
        tokio::select! {
            ended = server.ended() => return Ok(ended.map(|()| Exit::Failed)?),
            () = signals.next() => {}
        }
        tracing::info!("told to stop");
        remark("Stopping; a second signal ends at once.");
        tokio::select! {
            stopped = server.stop(STOP_LIMIT) => stopped?,
            () = signals.next() => {
                return Err(CommandError::Failed("stopped at once, by a second signal".to_owned()));
            }
        }
        Ok(Exit::Done)
    }

    fn options(self, context: &Context) -> Result<ServeOptions, CommandError> {
        let file = &context.file.serve;
        let data_dir = self.data_dir.or_else(|| file.data_dir.clone()).ok_or_else(|| {
            CommandError::Usage(
                "where should the catalog live? Name a directory with --data-dir, BACKSTAY_DATA_DIR or data_dir in backstay.toml".to_owned(),
            )
        })?;
        let pg_bin = match &self.pg_bin {
            Some(paths) => std::env::split_paths(paths)
                .filter(|p| !p.as_os_str().is_empty())
                .collect(),
            None => file.pg_bin.clone().unwrap_or_default(),
        };
        let parallel = self.parallel_executions.or(file.parallel_executions);
        if parallel == Some(0) {
            return Err(CommandError::Usage(
                "parallel_executions must be 1 or more".to_owned(),
            ));
        }
        Ok(ServeOptions {
            data_dir,
            listen: self
                .listen
                .or_else(|| file.listen.clone())
                .unwrap_or_else(|| DEFAULT_LISTEN.to_owned()),
            insecure_http: self.insecure_http.or(file.insecure_http).unwrap_or(false),
            admin_token: secret_input::from_env("BACKSTAY_ADMIN_TOKEN"),
            master_key: secret_input::from_env("BACKSTAY_MASTER_KEY"),
            pg_bin,
            parallel_executions: parallel,
            own_temporary_files: true,
        })
    }
}
