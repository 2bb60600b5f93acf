//! The API over a real catalog, a real vault and an engine in memory, by requests that go through
//! the whole router. [`app::App`] holds every answer against the OpenAPI document.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod app;
mod auth;
mod coverage;
mod document;
mod errors;
mod executions;
mod fault_codes;
mod jobs;
mod lists;
mod logged;
mod preparations;
mod restores;
mod samples_hold;
mod savesets;
mod schema;
mod service;
mod sites;
