//! Why a request is no request.

use model::{Blame, Fault};

use crate::Code;

/// What is wrong with a request, and where. Every variant is a 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no JSON.
    #[error("the body is no JSON: {what} at line {line}, column {column}")]
    Json {
        /// What the parser met.
        what: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A body is needed.
    #[error("the body is empty; this operation needs a JSON object")]
    NoBody,
    /// A field that the contract does not have.
    #[error("the field `{field}` is not known{}", meant(.nearest.as_deref()))]
    UnknownField {
        /// The whole way to it.
        field: String,
        /// The known one that is spelt most like it.
        nearest: Option<String>,
    },
    /// A field without which nothing can be done.
    #[error("the field `{field}` is missing")]
    MissingField {
        /// The whole way to it.
        field: String,
    },
    /// A field whose value cannot be.
    #[error("the field `{field}` {why}")]
    InvalidField {
        /// The whole way to it; `body` for the body itself.
        field: String,
        /// What it must be, as the rest of the sentence.
        why: String,
    },
    /// A name in the query that the operation does not have.
    #[error("the query parameter `{name}` is not known{}", takes(.nearest.as_deref(), .known))]
    UnknownParameter {
        /// As it was given.
        name: String,
        /// The known one that is spelt most like it.
        nearest: Option<String>,
        /// All that the operation has.
        known: Vec<&'static str>,
    },
    /// A query parameter whose value cannot be.
    #[error("the query parameter `{name}` {why}")]
    InvalidParameter {
        /// Its name.
        name: String,
        /// What it must be, as the rest of the sentence.
        why: String,
    },
    /// A header whose value cannot be.
    #[error("the header `{name}` {why}")]
    InvalidHeader {
        /// Its name.
        name: &'static str,
        /// What it must be, as the rest of the sentence.
        why: String,
    },
    /// A setting whose effect is not there yet.
    #[error("`{field}`: {what} is not built yet; {neutral}")]
    NotBuiltYet {
        /// The whole way to the setting.
        field: String,
        /// What it would do, as the subject of the sentence.
        what: String,
        /// What is accepted now.
        neutral: String,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn takes(nearest: Option<&str>, known: &[&str]) -> String {
    match (nearest, known) {
        (Some(name), _) => format!("; did you mean `{name}`?"),
        (None, []) => "; this operation takes none".to_owned(),
        (None, known) => format!("; this operation takes {}", known.join(", ")),
    }
}

impl Refusal {
    /// That the value of a field cannot be; `why` is the rest of the sentence.
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Refusal::InvalidField {
            field: field.into(),
            why: why.into(),
        }
    }

    /// That a header is missing or cannot be; `why` is the rest of the sentence.
    pub fn header(name: &'static str, why: impl Into<String>) -> Self {
        Refusal::InvalidHeader {
            name,
            why: why.into(),
        }
    }

    pub(crate) fn parameter(name: &str, why: impl Into<String>) -> Self {
        Refusal::InvalidParameter {
            name: name.to_owned(),
            why: why.into(),
        }
    }

    pub(crate) fn not_built(
        field: impl Into<String>,
        what: impl Into<String>,
        neutral: impl Into<String>,
    ) -> Self {
        Refusal::NotBuiltYet {
            field: field.into(),
            what: what.into(),
            neutral: neutral.into(),
        }
    }

    /// The code that the answer carries.
    pub fn problem(&self) -> Code {
        match self {
            Refusal::Json { .. } | Refusal::NoBody => Code::BadJson,
            Refusal::UnknownField { .. } => Code::UnknownField,
            Refusal::MissingField { .. } => Code::MissingField,
            Refusal::InvalidField { .. } => Code::InvalidField,
            Refusal::UnknownParameter { .. } => Code::UnknownParameter,
            Refusal::InvalidParameter { .. } => Code::InvalidParameter,
            Refusal::InvalidHeader { .. } => Code::InvalidHeader,
            Refusal::NotBuiltYet { .. } => Code::SettingNotBuiltYet,
        }
    }

    /// The field, parameter or header that is to blame.
    pub fn field(&self) -> Option<&str> {
        match self {
            Refusal::Json { .. } | Refusal::NoBody => None,
            Refusal::UnknownField { field, .. }
            | Refusal::MissingField { field }
            | Refusal::InvalidField { field, .. }
            | Refusal::NotBuiltYet { field, .. } => Some(field),
            Refusal::UnknownParameter { name, .. } | Refusal::InvalidParameter { name, .. } => {
                Some(name)
            }
            Refusal::InvalidHeader { name, .. } => Some(name),
        }
    }
}

impl Fault for Refusal {
    fn code(&self) -> &'static str {
        self.problem().as_str()
    }

    fn blame(&self) -> Blame {
        Blame::Request
    }
}
