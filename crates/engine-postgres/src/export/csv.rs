//! Rows as CSV: every value in double quotes, those inside doubled; a NULL is nothing at all. So it
//! is what COPY … (FORMAT csv) reads, and what every spreadsheet does.

use super::values::{Wrong, hex, print};
use super::walk::{Step, Walker};
use crate::facts::Form;

/// The first line.
pub(super) fn header(columns: &[String]) -> Vec<u8> {
    let mut line = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        if place > 0 {
            line.push(b',');
        }
        line.push(b'"');
        quoted(column.as_bytes(), &mut line);
        line.push(b'"');
    }
    line.extend_from_slice(b"\r\n");
    line
}

fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
}

/// Lines of COPY TEXT, whatever pieces they come in.
#[derive(Debug)]
pub(super) struct FromText {
    at: Text,
    rows: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// At a line's first byte.
    Line,
    /// At a value's first byte.
    Value,
    /// Behind a backslash that a value begins with: `\N` is NULL.
    First,
    /// Inside a value.
    Inside,
    /// Behind a backslash inside one.
    Escape,
    /// Behind `\N`.
    Null,
}

impl FromText {
    pub(super) fn new() -> Self {
        FromText {
            at: Text::Line,
            rows: 0,
        }
    }

    pub(super) fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
        for byte in piece {
            self.byte(*byte, out)?;
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let begins = matches!(self.at, Text::Line | Text::Value);
        self.at = match (self.at, byte) {
            (Text::Line | Text::Value | Text::Inside | Text::Null, b'\t' | b'\n') => {
                match self.at {
                    Text::Null => {}
                    Text::Inside => out.push(b'"'),
                    _ => out.extend_from_slice(b"\"\""),
                }
                return self.between(byte, out);
            }
            (Text::Line | Text::Value, b'\\') => Text::First,
            (Text::First, b'N') => Text::Null,
            (Text::Null, _) => return Err("something stands behind a NULL"),
            (Text::Inside, b'\\') => Text::Escape,
            (at, _) => {
                if begins || at == Text::First {
                    out.push(b'"');
                }
                let escaped = matches!(at, Text::First | Text::Escape);
                quoted(&[if escaped { unescaped(byte) } else { byte }], out);
                Text::Inside
            }
        };
        Ok(())
    }

    fn between(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Wrong> {
        if byte == b'\t' {
            out.push(b',');
            self.at = Text::Value;
        } else {
            out.extend_from_slice(b"\r\n");
            self.at = Text::Line;
            self.rows += 1;
        }
        Ok(())
    }

    /// Rows so far; an error inside one.
    pub(super) fn rows(&self) -> Result<u64, Wrong> {
        match self.at {
            Text::Line => Ok(self.rows),
            _ => Err("the last row is cut short"),
        }
    }
}

/// What COPY TO writes behind a backslash.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        other => other,
    }
}

/// Tuples of COPY BINARY.
#[derive(Debug)]
pub(super) struct FromBinary {
    walker: Walker,
    forms: Vec<Form>,
    row: Row,
}

#[derive(Debug, Default)]
struct Row {
    column: usize,
    /// A value that must be whole to be read.
    value: Vec<u8>,
    way: Way,
    rows: u64,
}

/// How a value goes over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Its bytes are its text.
    #[default]
    AsIt,
    /// Behind the first byte, which is a version.
    BehindVersion,
    /// Each byte as two digits.
    Hex,
    /// Gathered first.
    Whole,
}

impl FromBinary {
    pub(super) fn new(forms: Vec<Form>) -> Result<Self, Wrong> {
        Ok(FromBinary {
            walker: Walker::new(forms.len())?,
            forms,
            row: Row::default(),
        })
    }

    pub(super) fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
        let (forms, row) = (&self.forms, &mut self.row);
        self.walker.walk(piece, |step| row.step(forms, step, out))
    }

    /// Rows so far; an error inside one.
    pub(super) fn rows(&self) -> Result<u64, Wrong> {
        match self.walker.is_at_an_end() {
            true => Ok(self.row.rows),
            false => Err("the last row is cut short"),
        }
    }
}

impl Row {
    fn step(&mut self, forms: &[Form], step: Step<'_>, out: &mut Vec<u8>) -> Result<(), Wrong> {
        match step {
            Step::Null => self.next(out),
            Step::Field(_) => {
                self.comma(out);
                out.push(b'"');
                self.way = way(&forms[self.column]);
                if self.way == Way::Hex {
                    out.extend_from_slice(b"\\x");
                }
            }
            Step::Bytes(bytes) => match self.way {
                Way::AsIt => quoted(bytes, out),
                Way::Hex => out.extend_from_slice(hex(bytes).as_bytes()),
                Way::Whole => self.value.extend_from_slice(bytes),
                Way::BehindVersion => {
                    if bytes[0] != 1 {
                        return Err("a jsonb value has a version that is not known");
                    }
                    quoted(&bytes[1..], out);
                    self.way = Way::AsIt;
                }
            },
            Step::FieldEnd => {
                if self.way == Way::Whole {
                    let mut text = Vec::new();
                    print(&forms[self.column], &self.value, &mut text)?;
                    quoted(&text, out);
                    self.value.clear();
                }
                out.push(b'"');
                self.column += 1;
            }
            Step::RowEnd => {
                out.extend_from_slice(b"\r\n");
                self.column = 0;
                self.rows += 1;
            }
        }
        Ok(())
    }

    fn next(&mut self, out: &mut Vec<u8>) {
        self.comma(out);
        self.column += 1;
    }

    fn comma(&self, out: &mut Vec<u8>) {
        if self.column > 0 {
            out.push(b',');
        }
    }
}

fn way(form: &Form) -> Way {
    match form {
        Form::Label => Way::AsIt,
        Form::Plain(name) => match name.as_str() {
            "text" | "varchar" | "bpchar" | "name" | "json" => Way::AsIt,
            "jsonb" => Way::BehindVersion,
            "bytea" => Way::Hex,
            _ => Way::Whole,
        },
        _ => Way::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn csv(text: &[u8], size: usize) -> Result<(String, u64), Wrong> {
        let (mut from, mut out) = (FromText::new(), Vec::new());
        for piece in text.chunks(size) {
            from.take(piece, &mut out)?;
        }
        Ok((String::from_utf8(out).unwrap(), from.rows()?))
    }

    #[test]
    fn null_nothing_and_the_letters_n_are_three_things() {
        let text = b"\\N\t\t\\\\N\tN\na\\tb\t\"\t\\\\\t\\n\n";
        let wanted = ",\"\",\"\\N\",\"N\"\r\n\"a\tb\",\"\"\"\",\"\\\",\"\n\"\r\n";
        for size in 1..20 {
            assert_eq!(csv(text, size), Ok((wanted.to_owned(), 2)));
        }
    }

    #[test]
    fn a_row_that_is_cut_short_is_an_error() {
        assert!(csv(b"a\tb", 9).is_err());
        assert!(csv(b"\\Nx\n", 9).is_err());
    }

    /// Reads CSV back in a few lines.
    fn parse(text: &str) -> Vec<Vec<Option<String>>> {
        let (mut rows, mut row) = (Vec::new(), Vec::new());
        let mut rest = text;
        while !rest.is_empty() {
            let mut value = None;
            while let Some(inner) = rest.strip_prefix('"') {
                let end = inner.find('"').unwrap();
                let text: &mut String = value.get_or_insert_default();
                text.push_str(&inner[..end]);
                rest = &inner[end + 1..];
                if rest.starts_with('"') {
                    text.push('"');
                }
            }
            row.push(value);
            if let Some(next) = rest.strip_prefix("\r\n") {
                rows.push(std::mem::take(&mut row));
                rest = next;
            } else {
                rest = rest.strip_prefix(',').unwrap();
            }
        }
        rows
    }

    fn copy_text(rows: &[Vec<Option<String>>]) -> String {
        let escape = |text: &String| {
            text.replace('\\', "\\\\")
                .replace('\t', "\\t")
                .replace('\n', "\\n")
                .replace('\r', "\\r")
        };
        let value = |v: &Option<String>| v.as_ref().map_or("\\N".to_owned(), escape);
        let line = |row: &Vec<Option<String>>| row.iter().map(value).collect::<Vec<_>>().join("\t");
        rows.iter().map(|row| line(row) + "\n").collect()
    }

    proptest! {
        #[test]
        fn any_text_comes_back(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of("[a-zN\\\\\"\t\r\n,é]{0,6}"), 2), 0..5),
            size in 1_usize..30,
        ) {
            let (text, count) = csv(copy_text(&rows).as_bytes(), size).unwrap();
            prop_assert_eq!(count, rows.len() as u64);
            prop_assert_eq!(parse(&text), rows);
        }
    }
}
