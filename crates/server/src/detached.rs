//! Changes run to their end.

use std::future::Future;

use crate::Problem;

/// Runs `work` on a task of its own. If the client hangs up or the request takes too long, nobody
/// waits for the answer any more, but the work is not cut off in its middle.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(failed) if failed.is_panic() => {
            let text = match failed.into_panic().downcast::<String>() {
                Ok(text) => *text,
                Err(other) => other
                    .downcast::<&str>()
                    .map_or_else(|_| String::new(), |t| (*t).to_owned()),
            };
            Err(Problem::panicked(text))
        }
        Err(_) => Err(Problem::internal(
            "the runtime stopped before the work was done",
        )),
    }
}
