//! Stopping a statement of another connection.

use std::time::Duration;

use tokio_postgres::{CancelToken, NoTls};

use super::{Endpoint, Place};
use crate::error::PostgresError;

/// How long a cancel may take: whoever sends it has better things to do.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What stops the statement that a session runs at that moment.
#[derive(Clone)]
pub(crate) struct CancelKey {
    pub(crate) endpoint: Endpoint,
    pub(crate) token: CancelToken,
    pub(crate) tls: bool,
}

impl CancelKey {
    /// A key for a session at that place: the cancel must reach the same server.
    pub(crate) fn new(endpoint: &Endpoint, place: Place, token: CancelToken, tls: bool) -> Self {
        let mut endpoint = endpoint.clone();
        endpoint.places = vec![place];
        CancelKey {
            endpoint,
            token,
            tls,
        }
    }

    /// Sends the cancel on a connection of its own. A session that does nothing is not harmed.
    pub(crate) async fn cancel(self) -> Result<(), PostgresError> {
        let address = self.endpoint.address();
        let send = async {
            let (wire, _) = self.endpoint.connect(self.tls).await?;
            self.token
                .cancel_query_raw(wire, NoTls)
                .await
                .map_err(PostgresError::query("cancelling a statement"))
        };
        match tokio::time::timeout(CANCEL_TIMEOUT, send).await {
            Ok(sent) => sent,
            Err(_) => Err(PostgresError::Lost {
                doing: format!("cancelling a statement at {address}"),
            }),
        }
    }

    /// Sends it in the background; what becomes of it is logged, because nobody can wait for it.
    pub(crate) fn cancel_in_background(self, runtime: &tokio::runtime::Handle) {
        runtime.spawn(async move {
            if let Err(error) = self.cancel().await {
                tracing::debug!(%error, "a cancel did not reach the server");
            }
        });
    }
}
