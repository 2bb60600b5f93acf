//! The header `x-auth-credentials`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use model::{Credentials, SecretString};

use crate::Refusal;

const NAME: &str = "x-auth-credentials";

/// Reads `Basic base64(user:password)`: the database user that a restore runs with. No error
/// repeats the value.
///
/// # Errors
/// When it is no such header.
pub fn parse_credentials(header: &[u8]) -> Result<Credentials, Refusal> {
    let wrong = |why: &str| Refusal::InvalidHeader {
        name: NAME,
        why: why.to_owned(),
    };
    let text = std::str::from_utf8(header).map_err(|_| wrong("must be plain text"))?;
    let encoded = text
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .map(|(_, encoded)| encoded.trim())
        .ok_or_else(|| wrong("must be `Basic ` and then base64 of user:password"))?;
    let plain = BASE64_STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| wrong("must hold base64 of user:password in UTF-8 behind `Basic `"))?;
    match plain.split_once(':') {
        Some((user, password)) if !user.is_empty() => Ok(Credentials {
            user: user.to_owned(),
            password: SecretString::from(password.to_owned()),
        }),
        _ => Err(wrong(
            "must name a user, then a colon, then its password, in base64",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ExposeSecret;

    #[test]
    fn credentials_are_a_user_a_colon_and_a_password_in_base64() {
        let header = format!("basic {}", BASE64_STANDARD.encode("dba:a:b"));
        let read = parse_credentials(header.as_bytes()).unwrap();
        assert_eq!(
            (read.user.as_str(), read.password.expose_secret()),
            ("dba", "a:b")
        );
        for bad in [
            "",
            "Bearer x",
            "Basic",
            "Basic !!",
            "Basic ZGJh",
            "Basic OnB3",
        ] {
            assert!(parse_credentials(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
