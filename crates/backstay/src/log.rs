//! The log: on standard error, so that answers on standard output stay clean.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::error::CommandError;

/// What is logged: `info`, or by room: `info,jobs=debug`.
pub const LOG_ENV: &str = "BACKSTAY_LOG";
const SERVE_DEFAULT: &str = "info";
/// A command's errors are its answer, also those of the server that `demo` and `try` start.
const COMMAND_DEFAULT: &str = "off";

/// Starts the log of `backstay serve`.
///
/// # Errors
/// When `filter` is none.
pub fn start(filter: Option<&str>, format: LogFormat) -> Result<(), CommandError> {
    let text = filter.unwrap_or(SERVE_DEFAULT);
    let filter = EnvFilter::try_new(text).map_err(|e| {
        CommandError::Usage(format!(
            "{text:?} is no log filter ({e}): write it as info, or info,jobs=debug"
        ))
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(colours()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|e| CommandError::Failed(format!("cannot start the log: {e}")))
}

/// Starts the log of every other command.
///
/// # Errors
/// When `BACKSTAY_LOG` is no filter.
pub fn start_for_commands() -> Result<(), CommandError> {
    let given = std::env::var(LOG_ENV).ok().filter(|text| !text.is_empty());
    start(
        Some(given.as_deref().unwrap_or(COMMAND_DEFAULT)),
        LogFormat::Text,
    )
}

/// `NO_COLOR`, and whether anybody sees colours.
fn colours() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}
