//! What pg_restore says on its standard error.

/// An error of pg_restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolError {
    /// The number of the entry in the table of contents, where it belongs to one.
    pub(super) entry: Option<u32>,
    /// What the server or the tool said, in one line, without the command.
    pub(super) message: String,
    /// The command that failed, as far as it was told.
    pub(super) command: Option<String>,
}

impl ToolError {
    /// On servers before 17 the dump's own `SET transaction_timeout` fails, and does no harm. It is
    /// the one error that is none. It belongs to no entry; parallel workers all report it as they
    /// start, so that it may stand in pieces.
    fn is_harmless(&self) -> bool {
        let harmless = "unrecognized configuration parameter \"transaction_timeout\"";
        // A function may have such a setting, too: there it is an error of its CREATE.
        self.message.contains(harmless)
            && self
                .command
                .as_ref()
                .is_none_or(|command| command.starts_with("SET transaction_timeout = 0;"))
    }

    /// The connection broke or was refused: nothing is said about an object, and what comes after it
    /// was not tried. libpq's own words, in the C locale.
    pub(super) fn is_of_the_connection(&self) -> bool {
        [
            "server closed the connection",
            "no connection to the server",
            "connection to server",
            "could not receive data from server",
            "could not send data to server",
            "terminating connection",
            "the database system is",
            "worker process died",
            "SSL SYSCALL error",
            "SSL connection has been closed",
        ]
        .iter()
        .any(|words| self.message.contains(words))
    }
}

/// The errors, without the harmless one.
pub(super) fn errors(stderr: &str) -> Vec<ToolError> {
    let mut errors: Vec<ToolError> = Vec::new();
    let mut entry = None;
    for line in stderr.lines() {
        let Some(text) = line.strip_prefix("pg_restore: ") else {
            if let Some(error) = errors.last_mut() {
                add_line(error, line);
            }
            continue;
        };
        if let Some(message) = text.strip_prefix("error: ") {
            errors.push(ToolError {
                entry,
                message: message.to_owned(),
                command: None,
            });
        } else if text.starts_with("while ") {
            entry = None;
        } else if let Some(number) = text.strip_prefix("from TOC entry ") {
            // Told once, also where several errors of the entry follow.
            entry = number.split(';').next().and_then(|n| n.parse().ok());
        }
    }
    errors.retain(|error| !error.is_harmless());
    errors
}

/// The numbers of all entries that are named anywhere: in parallel, the lines of two workers may
/// be mixed, but a number is written in one piece.
pub(super) fn named_entries(stderr: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = stderr
        .split("from TOC entry ")
        .skip(1)
        .filter_map(|text| text.split(';').next()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Lines behind the first one: detail, hint, and the command.
fn add_line(error: &mut ToolError, line: &str) {
    if let Some(command) = &mut error.command {
        command.push('\n');
        command.push_str(line);
        *command = command.trim_end().to_owned();
    } else if let Some(command) = line.strip_prefix("Command was: ") {
        error.command = Some(command.trim_end().to_owned());
    } else if !line.trim().is_empty() {
        error.message.push_str("; ");
        error.message.push_str(line.trim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "\
pg_restore: while INITIALIZING:
pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"
Command was: SET transaction_timeout = 0;
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3456; 2606 16397 CONSTRAINT public t t_pkey app
pg_restore: error: could not execute query: ERROR:  could not create unique index \"t_pkey\"
DETAIL:  Key (id)=(1) is duplicated.
Command was: ALTER TABLE ONLY public.t
    ADD CONSTRAINT t_pkey PRIMARY KEY (id);


pg_restore: warning: errors ignored on restore: 2
";

    #[test]
    fn the_error_of_an_unknown_timeout_is_none_and_every_other_is_one() {
        let found = errors(FAILED);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].entry, Some(3456));
        assert_eq!(
            found[0].message,
            "could not execute query: ERROR:  could not create unique index \"t_pkey\"; DETAIL:  Key (id)=(1) is duplicated."
        );
        assert_eq!(
            found[0].command.as_deref(),
            Some("ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id);")
        );
        assert_eq!(named_entries(FAILED), [3456]);
    }

    #[test]
    fn a_function_with_that_setting_is_an_error() {
        let said = FAILED.replace("SET transaction_timeout = 0;", "CREATE FUNCTION f() …");
        assert_eq!(errors(&said).len(), 2);
    }

    #[test]
    fn all_errors_of_an_entry_are_known_to_be_its_own() {
        let said = "pg_restore: from TOC entry 7; 6104 1 PUBLICATION - p app\npg_restore: error: one\npg_restore: error: two\n";
        let entries: Vec<Option<u32>> = errors(said).iter().map(|e| e.entry).collect();
        assert_eq!(entries, [Some(7), Some(7)]);
    }

    #[test]
    fn an_error_without_an_entry_is_kept() {
        let found = errors("pg_restore: error: connection to server failed: no\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].entry, None);
    }

    #[test]
    fn a_connection_that_broke_is_told_from_an_object_that_cannot_be_made() {
        let broke = "pg_restore: error: query failed: server closed the connection unexpectedly
\tThis probably means the server terminated abnormally
\tbefore or while processing the request.
";
        assert!(errors(broke)[0].is_of_the_connection());
        assert!(!errors(FAILED)[0].is_of_the_connection());
    }
}
