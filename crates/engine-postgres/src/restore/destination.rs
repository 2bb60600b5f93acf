//! The server that is restored to, and the names of the databases there.

use model::{Connection, Credentials, RestoreRequest, ServerExecutionId};
use tokio_postgres::error::SqlState;

use super::fault::RestoreError;
use super::quote::cut;
use crate::connect::Endpoint;
use crate::error::PostgresError;
use crate::session::Session;

/// The longest name that PostgreSQL keeps, in bytes.
pub(super) const NAME_BYTES: usize = 63;

/// A server, a role on it, and the names of what is restored.
#[derive(Clone)]
pub(super) struct Destination {
    endpoint: Endpoint,
    application_name: String,
    own_credentials: bool,
    /// What the database will be called.
    pub(super) target: String,
    /// What it is called until it is complete.
    pub(super) working: String,
    /// What earlier runs of the same restore called theirs.
    pub(super) left: Vec<String>,
    /// What the scratch databases are called: of this run, then of the earlier ones.
    scratch: Vec<String>,
    /// What the names of working schemas begin with: of this run, then of the earlier ones.
    pub(super) schema_prefixes: Vec<String>,
    /// The earlier runs.
    earlier: Vec<ServerExecutionId>,
}

impl Destination {
    /// Reads the connection; nothing is opened. `node`: the server of Backstay that restores.
    pub(super) fn of(
        connection: &Connection,
        credentials: Option<&Credentials>,
        request: &RestoreRequest,
        node: Option<&str>,
    ) -> Result<Destination, RestoreError> {
        let names = Names::of(node);
        let target = request.target_database.last().to_owned();
        Ok(Destination {
            endpoint: Endpoint::of(connection, credentials)?,
            application_name: format!("backstay {}", request.server_execution_id),
            own_credentials: credentials.is_some(),
            working: names.working(request.server_execution_id, &target),
            left: request
                .earlier
                .iter()
                .map(|id| names.working(*id, &target))
                .collect(),
            scratch: runs(request).map(|id| names.scratch(id, &target)).collect(),
            schema_prefixes: runs(request).map(|id| names.prefix(id, "")).collect(),
            earlier: request.earlier.clone(),
            target,
        })
    }

    /// The server alone, for a look at it: nothing will be made there.
    pub(super) fn looking(
        connection: &Connection,
        credentials: Option<&Credentials>,
    ) -> Result<Destination, RestoreError> {
        Ok(Destination {
            endpoint: Endpoint::of(connection, credentials)?,
            application_name: "backstay browse".to_owned(),
            own_credentials: credentials.is_some(),
            target: String::new(),
            working: String::new(),
            left: Vec::new(),
            scratch: Vec::new(),
            schema_prefixes: Vec::new(),
            earlier: Vec::new(),
        })
    }

    /// The scratch database of the same restore, in the working one's place.
    pub(super) fn scratch(&self) -> Destination {
        let mut names = self.scratch.iter().cloned();
        Destination {
            working: names.next().unwrap_or_default(),
            left: names.collect(),
            ..self.clone()
        }
    }

    /// The target database itself, for objects that are put into one that is there.
    pub(super) fn in_target(&self) -> Destination {
        Destination {
            working: self.target.clone(),
            left: Vec::new(),
            ..self.clone()
        }
    }

    /// What the names of their working schemas begin with, and what their sessions show themselves
    /// as.
    pub(super) fn earlier_runs(&self) -> impl Iterator<Item = (&str, String)> {
        let prefixes = self.schema_prefixes.iter().skip(1);
        let named = prefixes.zip(&self.earlier);
        named.map(|(prefix, id)| (prefix.as_str(), format!("backstay {id}")))
    }

    /// What the sessions show themselves as.
    pub(super) fn application_name(&self) -> &str {
        &self.application_name
    }

    /// For programs that connect to the working database.
    pub(super) fn working_endpoint(&self) -> Endpoint {
        self.endpoint.with_database(&self.working)
    }

    /// A session in the working database.
    pub(super) async fn inside(&self) -> Result<Session, RestoreError> {
        self.open(&self.working).await
    }

    /// A session in a database that is neither the target nor the working one, from which both
    /// can be made, renamed and dropped.
    pub(super) async fn beside(&self) -> Result<Session, RestoreError> {
        let mut first = None;
        for database in [self.endpoint.database(), "postgres", "template1"] {
            if database == self.target || database == self.working {
                continue;
            }
            match self.open(database).await {
                Ok(session) => return Ok(session),
                Err(error) if is_of_the_database(&error) => {
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(first.unwrap_or_else(|| {
            RestoreError::Postgres(PostgresError::NoDatabase {
                name: "postgres".into(),
            })
        }))
    }

    /// A session in that database.
    pub(super) async fn open(&self, database: &str) -> Result<Session, RestoreError> {
        let endpoint = self.endpoint.with_database(database);
        let session = Session::open(&endpoint, &self.application_name).await;
        let session = session.map_err(|error| self.told(error))?;
        session
            .run(
                "SET synchronous_commit = off; SET check_function_bodies = off",
                "setting up a session for restoring",
            )
            .await?;
        Ok(session)
    }

    /// A refused login is a matter of the request where the request brought the credentials.
    fn told(&self, error: PostgresError) -> RestoreError {
        let refused = matches!(
            error.sql_state(),
            Some(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        );
        if self.own_credentials && refused {
            RestoreError::Credentials { source: error }
        } else {
            RestoreError::Postgres(error)
        }
    }
}

/// Whether another database of the same server may take the login.
pub(super) fn is_of_the_database(error: &RestoreError) -> bool {
    let RestoreError::Postgres(error) = error else {
        return false;
    };
    matches!(
        error.sql_state(),
        Some(
            SqlState::UNDEFINED_DATABASE
                | SqlState::INSUFFICIENT_PRIVILEGE
                | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
        )
    )
}

/// The run, then those before it.
fn runs(request: &RestoreRequest) -> impl Iterator<Item = ServerExecutionId> {
    let earlier = request.earlier.iter().copied();
    std::iter::once(request.server_execution_id).chain(earlier)
}

/// How many letters of a server's identity a name has.
const NODE_LETTERS: usize = 8;

/// Names of what is in the making: unique on the server, whoever restores there.
struct Names {
    /// `a1b2c3d4_`, or nothing.
    node: String,
}

impl Names {
    fn of(node: Option<&str>) -> Names {
        let letters = node.unwrap_or_default().chars();
        let letters = letters.filter(char::is_ascii_alphanumeric);
        let mut node: String = letters.take(NODE_LETTERS).collect();
        if !node.is_empty() {
            node.push('_');
        }
        Names { node }
    }

    /// `backstay_12_1_a1b2c3d4_`.
    fn prefix(&self, id: ServerExecutionId, kind: &str) -> String {
        format!(
            "backstay_{}_{}{kind}_{}",
            id.execution, id.attempt, self.node
        )
    }

    /// `backstay_12_1_a1b2c3d4_shop`.
    fn working(&self, id: ServerExecutionId, target: &str) -> String {
        fitting(self.prefix(id, ""), target)
    }

    /// `backstay_12_1s_a1b2c3d4_shop`: no working name of the same restore is like it.
    fn scratch(&self, id: ServerExecutionId, target: &str) -> String {
        fitting(self.prefix(id, "s"), target)
    }
}

fn fitting(mut name: String, target: &str) -> String {
    let room = NAME_BYTES.saturating_sub(name.len());
    name.push_str(cut(target, room));
    name
}

/// `shop_kept_20261124T131502_restore_12_1`: says when it was put aside, and by what.
pub(super) fn kept_name(id: ServerExecutionId, target: &str, at: jiff::Timestamp) -> String {
    let end = format!(
        "_kept_{}_restore_{}_{}",
        at.strftime("%Y%m%dT%H%M%S"),
        id.execution,
        id.attempt
    );
    let room = NAME_BYTES.saturating_sub(end.len());
    format!("{}{end}", cut(target, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_say_what_they_are() {
        let id: ServerExecutionId = "12.1".parse().unwrap();
        let names = Names::of(None);
        assert_eq!(names.working(id, "shop"), "backstay_12_1_shop");
        assert_eq!(names.scratch(id, "shop"), "backstay_12_1s_shop");
        assert_eq!(names.working(id, &"ü".repeat(40)).len(), 62);
        let at: jiff::Timestamp = "2026-11-24T13:15:02Z".parse().unwrap();
        assert_eq!(
            kept_name(id, "shop", at),
            "shop_kept_20261124T131502_restore_12_1"
        );
        assert_eq!(kept_name(id, &"x".repeat(63), at).len(), 63);
    }

    #[test]
    fn names_of_two_servers_that_count_to_the_same_number_differ() {
        let id: ServerExecutionId = "4294967296.17".parse().unwrap();
        let one = Names::of(Some("0f8fad5b-d9cb-469f-a165-70867728950e"));
        let other = Names::of(Some("7c9e6679-7425-40de-944b-e07fc1f90ae7"));
        let long = "x".repeat(63);
        let name = one.working(id, &long);
        assert!(
            name.starts_with("backstay_4294967296_17_0f8fad5b_xxxx"),
            "{name}"
        );
        assert_eq!(name.len(), NAME_BYTES);
        assert_ne!(name, other.working(id, &long));
        assert_ne!(one.prefix(id, ""), other.prefix(id, ""));
        assert!(!other.working(id, "shop").starts_with(&one.prefix(id, "")));
    }
}
