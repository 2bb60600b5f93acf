//! What the answers look like: JSON for scripts, tables for people, through one function.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Deserialize;
use serde_json::Value;

use crate::error::CommandError;

/// How answers are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For scripts: what the server said, one document.
    Json,
}

/// Standard output, in the chosen format.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// The format.
    pub format: Format,
}

impl Output {
    /// Shows an answer: as it is, or as `for_people` words it. The one place that writes answers.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn show(
        &self,
        answer: &Value,
        for_people: impl FnOnce(&Value) -> String,
    ) -> Result<(), CommandError> {
        say(&match self.format {
            Format::Table => for_people(answer),
            Format::Json => format!("{answer:#}"),
        })
    }
}

/// Writes text to standard output, with one line break at its end. Nothing for no text.
///
/// # Errors
/// When standard output cannot be written.
pub fn say(text: &str) -> Result<(), CommandError> {
    if text.is_empty() {
        return Ok(());
    }
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let mut out = anstream::stdout().lock();
    write!(out, "{text}{end}")
        .and_then(|()| out.flush())
        .map_err(CommandError::Output)
}

/// A line for a person beside the answer: on standard error, so that scripts read answers only.
pub fn remark(text: &str) {
    // Nobody can be told that standard error is gone.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// In less than this a table is not readable however it is broken.
const NARROWEST: u16 = 40;

/// A column: its heading, and what stands in it.
pub type Column<'a> = (&'a str, &'a dyn Fn(&Value) -> String);

/// A table of rows, or `none` where there is no row.
pub fn table(rows: &Value, none: &str, columns: &[Column<'_>]) -> String {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return none.to_owned();
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(columns.iter().map(|(heading, _)| *heading));
    // Only a terminal has a width to fit into, and some say they have none.
    match console::Term::stdout().size_checked() {
        Some((_, width)) if width >= NARROWEST => {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        _ => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    for row in rows {
        table.add_row(columns.iter().map(|(_, cell)| plain(&cell(row))));
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// Names and values of one object, one a line; those without a value are left out.
pub fn facts(facts: &[(&str, String)]) -> String {
    let shown = facts.iter().filter(|(_, value)| !value.is_empty());
    let width = shown.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    shown
        .map(|(name, value)| {
            let indented = plain(value).replace('\n', &format!("\n{:width$}  ", ""));
            format!("{name:width$}  {indented}\n")
        })
        .collect()
}

/// Texts come from databases and other people: no control character of theirs reaches a terminal.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// A field as a text; empty where it is null or absent.
pub fn text(value: &Value, field: &str) -> String {
    match &value[field] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A field as a number.
pub fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or(0)
}

/// A field's bytes as a person reads them; empty where there is no number.
pub fn bytes(value: &Value, field: &str) -> String {
    value[field].as_u64().map_or_else(String::new, byte_count)
}

/// A field's time to the second: `2026-01-31 02:00:00Z`.
pub fn time(value: &Value, field: &str) -> String {
    let text = text(value, field);
    match text.parse::<model::Moment>() {
        Ok(moment) => moment.to_the_second().replace('T', " "),
        Err(_) => text,
    }
}

/// Decimal units, as disks are sold: `1.4 GB`.
pub fn byte_count(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `42 s`, `3 min`, `26 h`, `5 d`: one unit says enough about an age.
pub fn age(age: std::time::Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_headings_and_lines_without_trailing_blanks() {
        let rows = json!([{"a": "x", "n": 1500}, {"a": null, "n": null}]);
        let shown = table(
            &rows,
            "none",
            &[("A", &|r| text(r, "a")), ("SIZE", &|r| bytes(r, "n"))],
        );
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[0].contains("A") && lines[0].contains("SIZE"));
        assert!(lines[1].contains("x") && lines[1].contains("1.5 kB"));
        assert!(lines.iter().all(|line| line.trim_end() == *line));
        assert_eq!(table(&json!([]), "nothing there", &[]), "nothing there");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let shown = facts(&[("name", "a\u{1b}[2Jb".to_owned()), ("empty", String::new())]);
        assert_eq!(shown, "name  a\u{fffd}[2Jb\n");
    }

    #[test]
    fn ages_are_one_number_and_one_unit() {
        let seconds = std::time::Duration::from_secs;
        assert_eq!(age(seconds(119)), "119 s");
        assert_eq!(age(seconds(26 * 3600)), "26 h");
        assert_eq!(age(seconds(5 * 86_400)), "5 d");
    }
}
