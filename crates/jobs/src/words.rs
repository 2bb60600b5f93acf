//! Sentences for people: `status_detail`.

use std::time::Duration;

use catalog::Execution;
use model::{Fault, ObjectName};

/// Bytes as a person reads them: `1.4 GB`. Decimal units, as disks are sold.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} bytes");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count with its noun: `1 table`, `12 tables`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Names as a person lists them: `shop`, `crm and shop`, `a, b, c and 12 others`.
pub(crate) fn list(names: &[ObjectName]) -> String {
    const TOLD: usize = 5;
    let (told, others) = names.split_at(names.len().min(TOLD));
    let mut told: Vec<String> = told.iter().map(ObjectName::to_string).collect();
    let last = match others.len() {
        0 => told.pop().unwrap_or_else(|| "nothing".to_owned()),
        1 => "1 other".to_owned(),
        n => format!("{n} others"),
    };
    match told.is_empty() {
        true => last,
        false => format!("{} and {last}", told.join(", ")),
    }
}

/// A duration as a person reads it: `0.8 s`, `42 s`, `3 min 5 s`, `2 h 4 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Bytes a second; 0 where no time has passed.
pub(crate) fn speed(bytes: u64, time: Duration) -> u64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        (bytes as f64 / seconds) as u64
    } else {
        0
    }
}

/// An error as `status_detail` has it: what went wrong, and what to do.
pub(crate) fn sentence(error: &dyn Fault) -> String {
    match error.hint() {
        Some(hint) => {
            let what = error.sentence();
            format!("{}. {}", what.trim_end_matches('.'), capitalized(&hint))
        }
        None => error.sentence(),
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// Names of databases may hold line feeds; a log has one line for one event.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line
}

/// Why a restore ended without its credentials, and the call that goes on.
pub(crate) fn continue_restore(execution: &Execution, why: &str) -> String {
    format!(
        "The server {why}, and a restore's database credentials are never stored. To restore, call POST \
         /data-protection/v2/sites/{}/jobs/{}/execute with the header x-auth-credentials",
        execution.site_id, execution.job_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_a_person_would_say_them() {
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1_400_000_000), "1.4 GB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(count(1, "table"), "1 table");
        assert_eq!(count(0, "table"), "0 tables");
        assert_eq!(duration(Duration::from_millis(800)), "0.8 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(speed(100, Duration::from_secs(2)), 50);
        assert_eq!(speed(100, Duration::ZERO), 0);
        let names =
            |n: usize| ["a", "b", "c", "d", "e", "f", "g"].map(ObjectName::one)[..n].to_vec();
        assert_eq!(list(&names(1)), "a");
        assert_eq!(list(&names(2)), "a and b");
        assert_eq!(list(&names(5)), "a, b, c, d and e");
        assert_eq!(list(&names(7)), "a, b, c, d, e and 2 others");
    }

    #[test]
    fn a_line_of_the_log_stays_one() {
        assert_eq!(
            one_line("Restored as a\nb\u{1b}[2J: 雪"),
            "Restored as a\\nb\\u{1b}[2J: 雪"
        );
    }
}
