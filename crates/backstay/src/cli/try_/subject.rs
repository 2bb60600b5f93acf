//! The database that is tried, and the name of its copy.

use std::path::Path;

use model::{Connection, Credentials, SecretString};

use super::compare::failed;
use crate::cli::site;
use crate::error::CommandError;
use crate::secret_input;

/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;
/// More scratch databases than that are not ours to add to.
const MOST_SCRATCHES: u32 = 1000;

/// The database that is tried.
pub(super) struct Subject {
    /// Without a password.
    pub(super) url: String,
    /// Its name.
    pub(super) database: String,
    /// The user's password, where one is needed.
    pub(super) password: Option<SecretString>,
    /// The name under which it is restored: free when it was chosen.
    pub(super) scratch: String,
    user: String,
}

impl Subject {
    /// Reads the URL, finds the password, and looks at the server for a free name.
    ///
    /// # Errors
    /// When the URL names no user or no database, or the server cannot be asked.
    pub(super) async fn of(
        given: &str,
        password_file: Option<&Path>,
    ) -> Result<Subject, CommandError> {
        let url = site::parse_url(given, "the URL")?;
        let database = decoded(url.path().trim_start_matches('/'));
        let user = decoded(url.username());
        if database.is_empty() || user.is_empty() {
            return Err(CommandError::Usage(
                "the URL must name the user and the database: postgres://USER@HOST:PORT/DATABASE"
                    .to_owned(),
            ));
        }
        let password = match password_file {
            Some(path) => Some(secret_input::from_file(path, "the database password")?),
            None => site::database_password(&url)?,
        };
        let mut subject = Subject {
            url: given.to_owned(),
            database,
            password,
            scratch: String::new(),
            user,
        };
        subject.scratch = subject.free_scratch().await?;
        Ok(subject)
    }

    /// As the engine takes it.
    pub(super) fn connection(&self) -> Connection {
        Connection::Postgresql {
            url: self.url.clone(),
            password: self.password.clone(),
        }
    }

    /// The same user restores.
    pub(super) fn credentials(&self) -> Credentials {
        let none = || SecretString::from(String::new());
        Credentials {
            user: self.user.clone(),
            password: self.password.clone().unwrap_or_else(none),
        }
    }

    /// `<db>_backstay_try_<n>`, the first that is free.
    async fn free_scratch(&self) -> Result<String, CommandError> {
        let names = (1..=MOST_SCRATCHES).map(|n| scratch_name(&self.database, n));
        let free = engine_postgres::first_free_name(&self.connection(), names).await;
        let free = free.map_err(failed(format!("cannot look at {}", self.database)))?;
        free.ok_or_else(|| {
            let first = scratch_name(&self.database, 1);
            CommandError::Failed(format!(
                "there are {MOST_SCRATCHES} databases named like {first}: drop those that are no longer needed"
            ))
        })
    }

    /// Drops the copy; only for one that our own restore has made.
    ///
    /// # Errors
    /// When the server refuses, for instance because somebody looks at it.
    pub(super) async fn drop_scratch(&self) -> Result<(), CommandError> {
        let dropped = engine_postgres::drop_database(&self.connection(), &self.scratch).await;
        let doing = format!("cannot drop the scratch database {}", self.scratch);
        dropped.map_err(failed(doing))
    }
}

fn scratch_name(database: &str, number: u32) -> String {
    let suffix = format!("_backstay_try_{number}");
    let mut end = database.len().min(LONGEST_NAME - suffix.len());
    while !database.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &database[..end])
}

/// Percent signs of a URL undone.
fn decoded(part: &str) -> String {
    // The form's own signs stand for themselves in a path.
    let form = format!("x={}", part.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = url::form_urlencoded::parse(form.as_bytes());
    pairs
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_name_fits_whatever_the_database_is_called() {
        assert_eq!(scratch_name("shop", 3), "shop_backstay_try_3");
        let long = scratch_name(&"ä".repeat(40), 1000);
        assert!(
            long.len() <= LONGEST_NAME && long.ends_with("_backstay_try_1000"),
            "{long}"
        );
    }

    #[test]
    fn names_in_a_url_are_decoded() {
        assert_eq!(decoded("a%20b+c%26d&e"), "a b+c&d&e");
        assert_eq!(decoded(""), "");
    }
}
