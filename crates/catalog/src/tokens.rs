//! Tokens: who may use the API.
//!
//! A token made here has 256 random bits, so a fast hash is enough. The hash is keyed with the
//! master key all the same: a token that somebody chose cannot be guessed at from a stolen
//! database without that key.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use model::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::{Catalog, CatalogError, MasterKey};

const PURPOSE: &str = "backstay 2026 catalog tokens v1";

/// Whoever a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token's name.
    pub name: String,
    /// May do everything.
    pub administrator: bool,
}

/// Hashes tokens.
pub(crate) struct TokenHasher {
    key: Zeroizing<[u8; 32]>,
}

impl TokenHasher {
    pub(crate) fn new(master: &MasterKey) -> Self {
        TokenHasher {
            key: master.derive(PURPOSE),
        }
    }

    fn hash(&self, token: &str) -> String {
        blake3::keyed_hash(&self.key, token.as_bytes())
            .to_hex()
            .to_string()
    }
}

impl Catalog {
    /// Sees to it that there is an administrator's token. When the data directory is first used,
    /// the one that was given becomes it; without one a token is made and returned, to be shown
    /// once. Later the call changes nothing, and what is given then is not looked at.
    ///
    /// # Errors
    /// [`CatalogError::UnusableToken`].
    pub async fn first_token(
        &self,
        given: Option<&SecretString>,
    ) -> Result<Option<SecretString>, CatalogError> {
        let mut tx = self.database().begin().await?;
        let tokens: i64 = sqlx::query_scalar("SELECT count(*) FROM token")
            .fetch_one(&mut *tx)
            .await?;
        if tokens > 0 {
            return Ok(None);
        }
        let made = match given {
            Some(_) => None,
            None => Some(new_token()?),
        };
        let token = given
            .or(made.as_ref())
            .map_or("", |token| token.expose_secret());
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CatalogError::UnusableToken);
        }
        sqlx::query(
            "INSERT INTO token (token_hash, name, administrator, created_at)
             VALUES ($1, 'admin', TRUE, $2)",
        )
        .bind(self.hasher().hash(token))
        .bind(self.now().as_micros())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Whom a token stands for; `None` if it is not known. Takes as long for a token that is
    /// nearly right as for one that is all wrong.
    pub async fn verify_token(&self, token: &str) -> Result<Option<Principal>, CatalogError> {
        let hash = self.hasher().hash(token);
        let known: Vec<(String, String, bool)> =
            sqlx::query_as("SELECT token_hash, name, administrator FROM token")
                .fetch_all(self.database().read())
                .await?;
        let mut found = None;
        for (known_hash, name, administrator) in known {
            if verify_slices_are_equal(known_hash.as_bytes(), hash.as_bytes()).is_ok() {
                found = Some(Principal {
                    name,
                    administrator,
                });
            }
        }
        Ok(found)
    }
}

fn new_token() -> Result<SecretString, CatalogError> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice())
        .map_err(|_| CatalogError::Crypto("make a token"))?;
    Ok(SecretString::from(hex::encode(bytes.as_slice())))
}
