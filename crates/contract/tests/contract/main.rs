//! The contract's rules about requests, each by its name.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod errors_page;
mod jobs;
mod restores;
mod sites;

use contract::{Code, Refusal};

/// Checks which field a refusal is about, and by which code.
fn assert_refused(refused: Result<impl std::fmt::Debug, Refusal>, code: Code, field: &str) {
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.problem(), refused.field()),
        (code, Some(field)),
        "{refused}"
    );
}
