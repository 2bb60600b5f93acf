//! `--vault-option NAME=VALUE`: what a store in the net is told.

use std::path::Path;

use model::{ExposeSecret, StoreKind};
use serde_json::{Map, Value};

use crate::error::CommandError;
use crate::secret_input;

/// Reads the options of a vault at `url`. A secret one stands in a file, as `NAME=@FILE`.
///
/// # Errors
/// When one has no `=`, a secret stands on the command line, or its file cannot be read. Which
/// names there are is for the server to say.
pub(crate) fn read(url: &str, given: &[String]) -> Result<Map<String, Value>, CommandError> {
    let kind = StoreKind::of_url(url);
    let mut options = Map::new();
    for pair in given {
        // What has no name is not repeated: it may be a secret.
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            CommandError::Usage("--vault-option must be NAME=VALUE, as region=eu-central-1".into())
        })?;
        let secret = kind
            .and_then(|kind| kind.option(name))
            .is_some_and(|option| option.secret);
        let value = match (secret, value.strip_prefix('@')) {
            (false, _) => value.to_owned(),
            (true, Some(file)) => {
                let secret = secret_input::from_file(Path::new(file), "a secret of the vault")?;
                secret.expose_secret().to_owned()
            }
            (true, None) => {
                return Err(CommandError::Usage(format!(
                    "--vault-option {name} holds a secret, which everybody on this machine can read here: write it into a file, and give {name}=@FILE"
                )));
            }
        };
        if options.insert(name.to_owned(), value.into()).is_some() {
            let twice = format!("--vault-option {name} is given twice");
            return Err(CommandError::Usage(twice));
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(given: &[&str]) -> String {
        let given: Vec<_> = given.iter().map(|pair| (*pair).to_owned()).collect();
        read("s3://b", &given).unwrap_err().to_string()
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_never_from_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "geheim\n").unwrap();
        let given = [
            "region=eu=x".to_owned(),
            format!("secret_access_key=@{}", file.display()),
        ];
        let options = read("s3://b", &given).unwrap();
        assert_eq!(options["region"], "eu=x");
        assert_eq!(options["secret_access_key"], "geheim");
        let said = refused(&["secret_access_key=geheim"]);
        assert!(
            said.contains("=@FILE") && !said.contains("geheim"),
            "{said}"
        );
        assert!(!refused(&["geheim"]).contains("geheim"));
        assert!(refused(&["region=a", "region=b"]).contains("twice"));
    }
}
