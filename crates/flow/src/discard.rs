//! Taking away what a restore made that did not come to its end.

use std::time::Duration;

use model::Target;

use crate::FlowError;
use crate::error::Place;
use crate::supervise::caught;

/// How long a run that was asked to stop waits. The discard goes on in the background.
const STOPPED_LIMIT: Duration = Duration::from_millis(1500);

/// How long a run that failed waits.
const FAILED_LIMIT: Duration = Duration::from_secs(60);

/// When the discard in the background is given up too.
const LAST_LIMIT: Duration = Duration::from_secs(600);

/// Discards, and gives back `error`, with what stays behind if something does.
pub(crate) async fn discard(target: Box<dyn Target>, error: FlowError) -> FlowError {
    let limit = if error.is_cancelled() {
        STOPPED_LIMIT
    } else {
        FAILED_LIMIT
    };
    let discarding = async {
        let place = Place::outside("discarding");
        let done = target.discard().await;
        done.map_err(|fault| place.fault(fault))
    };
    let mut discarding = tokio::spawn(tokio::time::timeout(
        LAST_LIMIT,
        caught(Place::outside("discarding"), discarding),
    ));
    let why = match tokio::time::timeout(limit, &mut discarding).await {
        Ok(Ok(Ok(Ok(())))) => return error,
        Ok(Ok(Ok(Err(failed)))) => failed.to_string(),
        Ok(Ok(Err(_)) | Err(_)) => "it was given up".to_owned(),
        Err(_) => {
            log_the_end_of(discarding);
            format!(
                "it takes longer than {} s, and goes on in the background",
                limit.as_secs_f32()
            )
        }
    };
    FlowError::LeftBehind {
        first: Box::new(error),
        why,
    }
}

/// Nobody waits any more: the log is the only place left.
fn log_the_end_of(
    discarding: tokio::task::JoinHandle<Result<Result<(), FlowError>, tokio::time::error::Elapsed>>,
) {
    tokio::spawn(async move {
        match discarding.await {
            Ok(Ok(Ok(()))) => tracing::info!("what a stopped restore had made is gone now"),
            Ok(Ok(Err(error))) => tracing::error!("what a stopped restore had made stays: {error}"),
            Ok(Err(_)) | Err(_) => tracing::error!("what a stopped restore had made stays"),
        }
    });
}
