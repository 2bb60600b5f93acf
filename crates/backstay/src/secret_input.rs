//! Where tokens, passwords and keys come from: a file, the environment, or a prompt without echo.
//!
//! Never the command line: every user of a machine can read it, and shells keep it for years.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use model::SecretString;

/// Nothing that we take as a secret is longer.
const LONGEST: u64 = 64 * 1024;

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file that should hold it.
    #[error("cannot read {what} from {}: {source}", path.display())]
    Unreadable {
        /// What it would have been, as `the token`.
        what: &'static str,
        /// The file; `-` is standard input.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{} is empty: {what} was expected there", path.display())]
    Empty {
        /// What it would have been.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// No file, nothing in the environment, nobody to ask.
    #[error("{what} is needed: {ways}")]
    Missing {
        /// What it would have been.
        what: &'static str,
        /// How to give it.
        ways: &'static str,
    },
    /// The terminal did not give it.
    #[error("cannot ask for {what}: {source}")]
    Prompt {
        /// What it would have been.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A secret stands where everybody can read it.
    #[error("{0}")]
    OnCommandLine(String),
}

/// The first line break at the end is the editor's, not the secret's. `-` is standard input.
///
/// # Errors
/// When the file cannot be read or is empty.
pub fn from_file(path: &Path, what: &'static str) -> Result<SecretString, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin()
            .take(LONGEST)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(LONGEST)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(SecretError::Empty {
            what,
            path: path.to_owned(),
        });
    }
    Ok(SecretString::from(secret))
}

/// From the environment; an empty variable counts as none.
pub fn from_env(name: &str) -> Option<SecretString> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .map(SecretString::from)
}

/// Asks for it without showing what is typed; `None` where there is no terminal to ask at.
///
/// # Errors
/// When the terminal fails.
pub fn from_prompt(
    question: &str,
    what: &'static str,
) -> Result<Option<SecretString>, SecretError> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(None);
    }
    let terminal = console::Term::stderr();
    let asked = terminal
        .write_str(&format!("{question}: "))
        .and_then(|()| terminal.read_secure_line())
        .map_err(|source| SecretError::Prompt { what, source })?;
    Ok(Some(SecretString::from(asked)))
}

/// Refuses a URL with a password in it.
///
/// # Errors
/// When there is one; the message does not repeat it.
pub fn no_password_in(url: &url::Url, flag: &str, instead: &str) -> Result<(), SecretError> {
    let in_query = url.query_pairs().any(|(name, _)| name == "password");
    if url.password().is_some() || in_query {
        return Err(SecretError::OnCommandLine(format!(
            "{flag} holds a password, which everybody on this machine can read: take it out, and {instead}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ExposeSecret;

    #[test]
    fn only_the_last_line_break_of_a_file_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        for (written, read) in [
            ("a b\n", "a b"),
            (" x\r\n", " x"),
            ("y\n\n", "y\n"),
            ("z", "z"),
        ] {
            std::fs::write(&file, written).unwrap();
            assert_eq!(from_file(&file, "the token").unwrap().expose_secret(), read);
        }
        std::fs::write(&file, "\n").unwrap();
        let error = from_file(&file, "the token").unwrap_err().to_string();
        assert!(
            error.contains("is empty: the token was expected"),
            "{error}"
        );
    }

    #[test]
    fn a_password_in_a_url_is_refused_without_repeating_it() {
        for url in ["postgres://u:hush@h/d", "postgres://u@h/d?password=hush"] {
            let url: url::Url = url.parse().unwrap();
            let error = no_password_in(&url, "--url", "use a file")
                .unwrap_err()
                .to_string();
            assert!(
                !error.contains("hush") && error.contains("--url"),
                "{error}"
            );
        }
    }
}
