//! Taking away what a restore made that did not come to its end.

use std::time::Duration;

use model::Target;
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use crate::FlowError;
use crate::error::Place;
use crate::supervise::{caught, patience};

/// How long a run that was asked to stop waits. The discard goes on in the background.
const STOPPED_LIMIT: Duration = Duration::from_millis(900);

/// How long a run that failed waits.
const FAILED_LIMIT: Duration = Duration::from_secs(60);

/// When the discard in the background is given up too.
const LAST_LIMIT: Duration = Duration::from_secs(600);

/// Discards all of them, and gives back `error`, with what stays behind if something does.
pub(crate) async fn discard(
    targets: Vec<Box<dyn Target>>,
    error: FlowError,
    cancel: &CancellationToken,
) -> FlowError {
    let discarding = async {
        let mut all = Ok(());
        for target in targets {
            let place = || Place::outside("discarding");
            let discarding = async { target.discard().await.map_err(|f| place().fault(f)) };
            // One that cannot be taken away is no reason to leave the others.
            all = all.and(caught(place(), discarding).await);
        }
        all
    };
    let mut discarding = tokio::spawn(tokio::time::timeout(LAST_LIMIT, discarding));
    let ended = tokio::select! {
        biased;
        ended = &mut discarding => Some(ended),
        () = patience(cancel, STOPPED_LIMIT, FAILED_LIMIT) => None,
    };
    let why = match ended {
        Some(Ok(Ok(Ok(())))) => return error,
        Some(Ok(Ok(Err(failed)))) => failed.to_string(),
        Some(Ok(Err(_)) | Err(_)) => "it was given up".to_owned(),
        None => {
            log_the_end_of(discarding);
            "it takes long, and goes on in the background".to_owned()
        }
    };
    FlowError::LeftBehind {
        first: Box::new(error),
        why,
    }
}

/// Nobody waits any more: the log is the only place left.
fn log_the_end_of(discarding: JoinHandle<Result<Result<(), FlowError>, Elapsed>>) {
    tokio::spawn(async move {
        match discarding.await {
            Ok(Ok(Ok(()))) => tracing::info!("what a stopped restore had made is gone now"),
            Ok(Ok(Err(error))) => tracing::error!("what a stopped restore had made stays: {error}"),
            Ok(Err(_)) | Err(_) => tracing::error!("what a stopped restore had made stays"),
        }
    });
}
