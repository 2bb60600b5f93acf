//! The kinds of stores that a vault may be in, and what each can be told.

/// A kind of store, by the scheme of the vault's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// `file:///srv/backups/shop`: a directory of the server's machine.
    Local,
    /// `s3://bucket/prefix`: Amazon S3, or whatever speaks like it.
    S3,
    /// `az://container/prefix`: Azure Blob Storage.
    Azure,
    /// `gs://bucket/prefix`: Google Cloud Storage.
    Google,
}

/// A setting of a kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOption {
    /// As users write it.
    pub name: &'static str,
    /// Kept sealed, never answered, never logged.
    pub secret: bool,
}

const fn plain(name: &'static str) -> StoreOption {
    StoreOption {
        name,
        secret: false,
    }
}

const fn secret(name: &'static str) -> StoreOption {
    StoreOption { name, secret: true }
}

/// `credentials`: `server` means the identity of the machine that the server runs on.
const CREDENTIALS: StoreOption = plain("credentials");

const S3: &[StoreOption] = &[
    plain("region"),
    plain("endpoint"),
    plain("path_style"),
    plain("access_key_id"),
    secret("secret_access_key"),
    secret("session_token"),
    CREDENTIALS,
];

const AZURE: &[StoreOption] = &[
    plain("account"),
    plain("endpoint"),
    secret("access_key"),
    secret("sas_token"),
    plain("tenant_id"),
    plain("client_id"),
    secret("client_secret"),
    CREDENTIALS,
];

const GOOGLE: &[StoreOption] = &[
    plain("endpoint"),
    secret("service_account_key"),
    CREDENTIALS,
];

impl StoreKind {
    /// The kind of a URL; `None` where its scheme is no store's.
    pub fn of_url(url: &str) -> Option<StoreKind> {
        match url.split_once("://")?.0 {
            "file" => Some(StoreKind::Local),
            "s3" => Some(StoreKind::S3),
            "az" => Some(StoreKind::Azure),
            "gs" => Some(StoreKind::Google),
            _ => None,
        }
    }

    /// All settings that it has.
    pub fn options(self) -> &'static [StoreOption] {
        match self {
            StoreKind::Local => &[],
            StoreKind::S3 => S3,
            StoreKind::Azure => AZURE,
            StoreKind::Google => GOOGLE,
        }
    }

    /// The setting of that name.
    pub fn option(self, name: &str) -> Option<StoreOption> {
        self.options().iter().copied().find(|o| o.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signs_or_opens_is_a_secret_and_what_names_is_none() {
        for kind in [StoreKind::S3, StoreKind::Azure, StoreKind::Google] {
            for option in kind.options() {
                let words = ["secret", "token", "access_key", "account_key"];
                let opens = words.iter().any(|word| option.name.ends_with(word));
                assert_eq!(option.secret, opens, "{}", option.name);
                assert_eq!(kind.option(option.name), Some(*option));
            }
        }
        assert_eq!(StoreKind::of_url("file:///srv"), Some(StoreKind::Local));
        assert_eq!(StoreKind::of_url("S3://bucket"), None);
        assert_eq!(StoreKind::of_url("/srv"), None);
        assert_eq!(StoreKind::S3.option("Region"), None);
    }
}
