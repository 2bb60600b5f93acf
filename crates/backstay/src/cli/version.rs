//! `backstay version`.

use serde_json::json;

use crate::cli::Context;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::text;

pub(crate) fn run(context: &Context) -> Result<Exit, CommandError> {
    let answer = json!({ "name": "backstay", "version": env!("CARGO_PKG_VERSION") });
    context.output.show(&answer, |answer| {
        format!("{} {}", text(answer, "name"), text(answer, "version"))
    })?;
    Ok(Exit::Done)
}
