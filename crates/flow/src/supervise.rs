//! A run that is stopped still cleans up, and a panic is a failure.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::FlowError;
use crate::error::Place;

/// How long workers are waited for that were told to stop. Those of a database that does not
/// listen are left alone then: they hold nothing that the rest of the run needs.
pub(crate) const STOP_LIMIT: Duration = Duration::from_millis(700);

/// Runs an attempt as a task of its own. When the future of the caller is dropped, `cancel` is
/// cancelled, and the attempt goes on in the background until it has cleaned up.
pub(crate) async fn supervised<T: Send + 'static>(
    cancel: CancellationToken,
    doing: &'static str,
    attempt: impl Future<Output = Result<T, FlowError>> + Send + 'static,
) -> Result<T, FlowError> {
    let _stopped_when_dropped = cancel.drop_guard();
    match tokio::spawn(attempt.in_current_span()).await {
        Ok(ended) => ended,
        Err(error) => Err(panicked(Place::outside(doing), error)),
    }
}

/// What became of a task that gave no answer.
pub(crate) fn panicked(place: Place, error: JoinError) -> FlowError {
    match error.try_into_panic() {
        Ok(panic) => FlowError::Panicked {
            place,
            message: message(panic.as_ref()),
        },
        // Nothing of ours aborts a task that it waits for: the runtime shuts down.
        Err(_) => FlowError::ShuttingDown,
    }
}

/// Goes through the steps until `cancel`. Whatever the steps hold is dropped before this answers,
/// also when they panic.
pub(crate) async fn until_cancelled<T>(
    cancel: &CancellationToken,
    doing: &'static str,
    steps: impl Future<Output = Result<T, FlowError>>,
) -> Result<T, FlowError> {
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(FlowError::Cancelled),
        ended = caught(Place::outside(doing), steps) => ended,
    };
    // The threads may see the cancel before this does: what they say then is a consequence.
    ended.map_err(|error| match cancel.is_cancelled() {
        true => FlowError::Cancelled,
        false => error,
    })
}

/// Ready when cleaning up has lasted long enough: `failed` long, or `stopped` long once somebody
/// has asked the run to stop.
pub(crate) async fn patience(cancel: &CancellationToken, stopped: Duration, failed: Duration) {
    let asked_to_stop = async {
        cancel.cancelled().await;
        tokio::time::sleep(stopped).await;
    };
    tokio::select! {
        () = asked_to_stop => {}
        () = tokio::time::sleep(failed) => {}
    }
}

/// A panic as an error.
pub(crate) async fn caught<T>(
    place: Place,
    steps: impl Future<Output = Result<T, FlowError>>,
) -> Result<T, FlowError> {
    // The state that a panic leaves half done is given up with the run, never looked at again.
    match AssertUnwindSafe(steps).catch_unwind().await {
        Ok(ended) => ended,
        Err(panic) => Err(FlowError::Panicked {
            place,
            message: message(panic.as_ref()),
        }),
    }
}

/// The same for plain code.
pub(crate) fn caught_in<T>(
    place: impl FnOnce() -> Place,
    work: impl FnOnce() -> Result<T, FlowError>,
) -> Result<T, FlowError> {
    match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(ended) => ended,
        Err(panic) => Err(FlowError::Panicked {
            place: place(),
            message: message(panic.as_ref()),
        }),
    }
}

/// Plain code on a blocking thread.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    place: Place,
    work: impl FnOnce() -> Result<T, FlowError> + Send + 'static,
) -> Result<T, FlowError> {
    match tokio::task::spawn_blocking(move || caught_in(|| place, work)).await {
        Ok(ended) => ended,
        Err(error) => Err(panicked(Place::outside("working"), error)),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without words".to_owned()
    }
}
