//! Names of objects as the contract writes them: in SQL quoting, without folding.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString};

/// Why a text is no object name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there, or nothing between two dots.
    #[error("{0:?} is no object name: a part of it is empty")]
    Empty(String),
    /// A quote was opened and not closed.
    #[error("{0:?} is no object name: a double quote is not closed")]
    OpenQuote(String),
    /// Something stands right behind a closing quote.
    #[error("{0:?} is no object name: after a quoted part only a dot may follow")]
    AfterQuote(String),
    /// PostgreSQL and SQLite both refuse it.
    #[error("{0:?} is no object name: it holds a NUL character")]
    Nul(String),
}

/// A name of one or more parts, as `orders`, `public.orders`, `"my.schema"."Orders"`. An unquoted
/// part is taken as it is, without folding (contract section 2, *names*).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName {
    parts: Vec<String>,
}

impl ObjectName {
    /// A name of one part, whatever characters it has.
    pub fn one(part: impl Into<String>) -> Self {
        ObjectName {
            parts: vec![part.into()],
        }
    }

    /// A name of two parts: schema and object.
    pub fn two(schema: impl Into<String>, object: impl Into<String>) -> Self {
        ObjectName {
            parts: vec![schema.into(), object.into()],
        }
    }

    /// The name of a DATABASE, which is one part: `shop.db` needs no quotes, but may have them.
    pub fn database(text: &str) -> Result<Self, NameError> {
        if text.starts_with('"') && text.ends_with('"') {
            let name: ObjectName = text.parse()?;
            if name.parts.len() == 1 {
                return Ok(name);
            }
        }
        match text {
            "" => Err(NameError::Empty(text.to_owned())),
            _ if text.contains('\0') => Err(NameError::Nul(text.to_owned())),
            _ => Ok(ObjectName::one(text)),
        }
    }

    /// The parts, unquoted.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// The last part, unquoted: the object's own name.
    pub fn last(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains('\0') {
            return Err(NameError::Nul(text.to_owned()));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let (part, after) = first_part(rest, text)?;
            parts.push(part);
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None => return Ok(ObjectName { parts }),
            }
        }
    }
}

/// Takes one part off the front; what is left is empty or begins with a dot.
fn first_part<'a>(rest: &'a str, whole: &str) -> Result<(String, &'a str), NameError> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find('.').unwrap_or(rest.len());
        return match end {
            0 => Err(NameError::Empty(whole.to_owned())),
            _ => Ok((rest[..end].to_owned(), &rest[end..])),
        };
    };
    let mut part = String::new();
    let mut left = quoted;
    loop {
        let quote = left
            .find('"')
            .ok_or_else(|| NameError::OpenQuote(whole.to_owned()))?;
        part.push_str(&left[..quote]);
        left = &left[quote + 1..];
        match left.strip_prefix('"') {
            Some(after) => {
                part.push('"');
                left = after;
            }
            None => break,
        }
    }
    if part.is_empty() {
        Err(NameError::Empty(whole.to_owned()))
    } else if left.is_empty() || left.starts_with('.') {
        Ok((part, left))
    } else {
        Err(NameError::AfterQuote(whole.to_owned()))
    }
}

impl fmt::Display for ObjectName {
    /// Quoted only where reading it back needs it; a name of one part that has dots is quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            if part.contains(['.', '"']) {
                write!(f, "\"{}\"", part.replace('"', "\"\""))?;
            } else {
                f.write_str(part)?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for ObjectName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> String {
        name.to_string()
    }
}

/// What kind of object a name means (contract section 2, `object_type`).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    EnumString,
    EnumIter,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", ascii_case_insensitive)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "each word is the database's own")]
pub enum ObjectType {
    Database,
    Schema,
    Table,
    View,
    MaterializedView,
    Index,
    Sequence,
    Function,
    Procedure,
    Aggregate,
    Trigger,
    Type,
    Domain,
    Extension,
    ForeignTable,
    LargeObject,
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_follow_sql_quoting_without_folding() {
        let parts = |t: &str| t.parse::<ObjectName>().unwrap().parts().to_vec();
        assert_eq!(parts("orders"), ["orders"]);
        assert_eq!(parts("Public.Orders"), ["Public", "Orders"]);
        assert_eq!(
            parts(r#""my.schema"."Or""ders""#),
            ["my.schema", "Or\"ders"]
        );
        for bad in ["", ".", "a.", ".a", "\"a", "\"a\"b", "\"\"", "a..b"] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_database_is_one_part_with_or_without_quotes() {
        assert_eq!(
            ObjectName::database("shop.db").unwrap().parts(),
            ["shop.db"]
        );
        assert_eq!(
            ObjectName::database("\"shop.db\"").unwrap().parts(),
            ["shop.db"]
        );
        assert!(ObjectName::database("").is_err());
    }

    proptest! {
        #[test]
        fn every_name_reads_back_as_it_was_written(parts in prop::collection::vec("[^\0]{1,12}", 1..4)) {
            let name = ObjectName { parts };
            prop_assert_eq!(name.to_string().parse::<ObjectName>(), Ok(name));
        }
    }
}
