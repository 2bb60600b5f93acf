//! The HTTP face of Backstay: the data-protection v2 API over `catalog` and `jobs`.
//!
//! ```text
//! request ─► observe ─► guard ───────────► route ─► contract: parse ─► catalog, jobs
//!            id, log,   token, access,     │
//!            metrics,   how many at once,  └─► contract: answer ─► JSON
//!            panics     how long
//! ```
//!
//! - [`serve`] answers requests on a listener until it is told to stop; [`router`] is the same
//!   without a socket, for tests.
//! - Every error leaves as `application/problem+json`. `problem.rs` is the only file that turns
//!   faults into status codes.
//! - The OpenAPI document is made from the routes themselves ([`openapi`]) and held against
//!   [`contract::Operation`] and `docs/openapi.json` by tests.
//! - What changes something runs to its end even when the client hangs up: no site without a
//!   vault, no restore without its credentials.
//!
//! What this crate is not: it knows no SQL, no engine, no vault, and no rule about what may run.
//! It speaks plain HTTP.

mod access;
mod body;
mod detached;
mod events;
mod guard;
mod lists;
mod metrics;
mod observe;
mod openapi;
mod present;
mod problem;
mod router;
mod routes;
mod serve;
mod state;
mod way;

pub use openapi::openapi;
pub use problem::Problem;
pub use router::router;
pub use serve::{ServerError, serve};
pub use state::{Limits, ServerState};
