//! Takes the password out of a PostgreSQL URL, so that it is sealed and never answered.
//!
//! No error here repeats the URL: it may hold the password.

use model::SecretString;

/// A URL without its password, and the password.
#[derive(Debug)]
pub(crate) struct SplitUrl {
    /// `postgres://user@host:port/database?…`.
    pub url: String,
    /// What stood behind the user's colon, or in `?password=`.
    pub password: Option<SecretString>,
}

/// Splits `postgres://user:password@host/database?password=…`.
///
/// # Errors
/// The rest of a sentence that begins with the field's name.
pub(crate) fn split(url: &str) -> Result<SplitUrl, String> {
    let (scheme, rest) = url
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "postgres" | "postgresql"))
        .ok_or("must begin with postgres:// as in postgres://backup@db:5432/postgres")?;
    if rest.contains(|c: char| c.is_control() || c == ' ' || c == '#') {
        return Err(
            "must not hold spaces, control characters or `#`; write them as %20".to_owned(),
        );
    }
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let (authority, database) = match place.split_once('/') {
        Some((authority, database)) => (authority, Some(database)),
        None => (place, None),
    };
    let (user, hosts, in_user) = split_authority(authority)?;
    let (query, in_query) = query.map_or(Ok((String::new(), None)), split_query)?;
    let password = match (in_user, in_query) {
        (Some(one), Some(other)) if one != other => {
            return Err("holds two different passwords".to_owned());
        }
        (one, other) => one.or(other),
    };
    let mut clean = format!("{scheme}://");
    if let Some(user) = user {
        clean.push_str(user);
        clean.push('@');
    }
    clean.push_str(hosts);
    if let Some(database) = database {
        clean.push('/');
        clean.push_str(database);
    }
    if !query.is_empty() {
        clean.push('?');
        clean.push_str(&query);
    }
    Ok(SplitUrl {
        url: clean,
        password: password.map(SecretString::from),
    })
}

/// User, hosts and password of the part between `://` and the next slash.
fn split_authority(authority: &str) -> Result<(Option<&str>, &str, Option<String>), String> {
    let Some((info, hosts)) = authority.rsplit_once('@') else {
        return Ok((None, authority, None));
    };
    if info.contains('@') {
        return Err("holds an `@` that is not written as %40".to_owned());
    }
    match info.split_once(':') {
        None => Ok((Some(info), hosts, None)),
        Some((user, password)) => {
            let password = percent_decode(password)?;
            Ok((Some(user), hosts, Some(password).filter(|p| !p.is_empty())))
        }
    }
}

/// The query without `password=`, and the password.
fn split_query(query: &str) -> Result<(String, Option<String>), String> {
    let mut kept = Vec::new();
    let mut password = None;
    for setting in query.split('&').filter(|s| !s.is_empty()) {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let name = percent_decode(name)?.to_ascii_lowercase();
        if name == "password" {
            password = Some(percent_decode(value)?);
        } else if name.contains("password") || name == "passfile" {
            return Err(format!(
                "must not hold `{name}`: only the user's own password is kept"
            ));
        } else {
            kept.push(setting);
        }
    }
    Ok((kept.join("&"), password))
}

fn percent_decode(text: &str) -> Result<String, String> {
    let wrong = || "holds a `%` that is not followed by two hexadecimal digits of UTF-8".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ExposeSecret;
    use proptest::prelude::*;

    fn parts(url: &str) -> (String, Option<String>) {
        let split = split(url).unwrap();
        let password = split.password.map(|p| p.expose_secret().to_owned());
        (split.url, password)
    }

    #[test]
    fn a_password_is_taken_out_of_a_url_wherever_it_stands() {
        let clean = "postgres://backup@db:5432/postgres".to_owned();
        assert_eq!(parts(&clean), (clean.clone(), None));
        assert_eq!(
            parts("postgres://backup:s%40cret@db:5432/postgres"),
            (clean.clone(), Some("s@cret".to_owned()))
        );
        assert_eq!(
            parts("postgres://backup@db:5432/postgres?password=x&sslmode=require"),
            (format!("{clean}?sslmode=require"), Some("x".to_owned()))
        );
        assert_eq!(
            parts("postgresql://a:b@h1:1,h2:2/d"),
            (
                "postgresql://a@h1:1,h2:2/d".to_owned(),
                Some("b".to_owned())
            )
        );
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for bad in [
            "mysql://u:secret@h/d",
            "postgres//u:secret@h",
            "postgres://u:secret@x@h/d",
            "postgres://u:secret@h/d?sslpassword=secret",
            "postgres://u:secret@h/d?password=other",
            "postgres://u:sec%zzret@h/d",
            "postgres://u:secret @h/d",
        ] {
            let why = split(bad).unwrap_err();
            assert!(!why.contains("secret") && !why.contains("other"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_password_survives_in_the_url(password in "[a-z0-9:/?&=%@ -]{1,20}") {
            let encoded: String = password.bytes().map(|b| format!("%{b:02X}")).collect();
            let (url, taken) = parts(&format!("postgres://u:{encoded}@h/d?sslmode=prefer"));
            prop_assert_eq!(url, "postgres://u@h/d?sslmode=prefer");
            prop_assert_eq!(taken, Some(password));
        }
    }
}
