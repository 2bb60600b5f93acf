//! Names and texts inside SQL. Sessions have `standard_conforming_strings = on`.

use crate::facts::{QualifiedName, TableFacts};

/// An identifier, always quoted.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Schema and name.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

impl QualifiedName {
    /// As SQL writes it.
    pub(super) fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
    }
}

impl TableFacts {
    /// Schema and name.
    pub(crate) fn name(&self) -> QualifiedName {
        QualifiedName {
            schema: self.schema.clone(),
            name: self.name.clone(),
        }
    }
}

/// Cuts a name so that it takes at most `most` bytes, between characters.
pub(super) fn cut(name: &str, most: usize) -> &str {
    let mut end = name.len().min(most);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_are_doubled() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's \\ so"), "'it''s \\ so'");
    }

    #[test]
    fn a_name_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "ä");
        assert_eq!(cut("abc", 9), "abc");
    }
}
