//! Answers requests on a listener until it is told to stop.

use std::future::Future;

use model::{Blame, Fault};
use tokio::net::TcpListener;

use crate::{ServerState, router};

/// Why the server ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The socket failed.
    #[error("the server can no longer accept connections: {0}")]
    Listener(#[from] std::io::Error),
}

impl Fault for ServerError {
    fn code(&self) -> &'static str {
        "listener-failed"
    }

    fn blame(&self) -> Blame {
        Blame::Bug
    }
}

/// Serves until `shutdown` is done; then takes no new connection, lets requests at work go on for
/// [`Limits::shutdown`](crate::Limits::shutdown) at most, and returns.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    state: ServerState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let stopping = state.stopping().clone();
    let told = stopping.clone();
    let signal = async move {
        shutdown.await;
        told.cancel();
    };
    let grace = state.limits().shutdown;
    let serving = axum::serve(listener, router(state)).with_graceful_shutdown(signal);
    let too_long = async move {
        stopping.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        ended = async { serving.await } => Ok(ended?),
        () = too_long => {
            tracing::warn!("some requests were cut off {} s after the server was told to stop", grace.as_secs());
            Ok(())
        }
    }
}
