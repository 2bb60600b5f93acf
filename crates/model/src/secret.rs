//! Secrets: values that no log, error or answer shows.

pub use secrecy::{ExposeSecret, SecretString};
