//! From a URL to an open, encrypted stream: addresses, TLS, sockets. No SQL.

mod cancel;
mod endpoint;
mod tls;
mod wire;

pub(crate) use cancel::CancelKey;
pub(crate) use endpoint::{Endpoint, Place};
pub(crate) use tls::system_roots;
pub(crate) use wire::{BlockingWire, Closer, LentWire, Wire};

use model::{Connection, Credentials};

use crate::error::PostgresError;
use crate::session::Session;

/// Opens a session with the standard settings of this engine.
///
/// `credentials` replace user and password of the connection; `database` replaces the one in its
/// URL. The session shows itself as `application_name`.
pub(crate) async fn open(
    connection: &Connection,
    credentials: Option<&Credentials>,
    database: Option<&str>,
    application_name: &str,
) -> Result<Session, PostgresError> {
    let mut endpoint = Endpoint::of(connection, credentials)?;
    if let Some(database) = database {
        endpoint = endpoint.with_database(database);
    }
    Session::open(&endpoint, application_name).await
}
