//! What ends a history early.

use model::BoxFault;

/// Why a history could not be played to its end: a loss, or a failure that nothing explains.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Trouble {
    what: String,
    loss: bool,
}

impl Trouble {
    /// A failure.
    pub fn new(what: impl Into<String>) -> Trouble {
        Trouble {
            what: what.into(),
            loss: false,
        }
    }

    /// A saveset that is not what its snapshot saw.
    pub fn loss(what: impl Into<String>) -> Trouble {
        Trouble {
            what: what.into(),
            loss: true,
        }
    }

    /// Whether a saveset is wrong.
    pub fn is_loss(&self) -> bool {
        self.loss
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Trouble {
        match error.as_db_error() {
            Some(db) => Trouble::new(format!("PostgreSQL: {}", db.message())),
            None => Trouble::new(format!("PostgreSQL: {error:?}")),
        }
    }
}

impl From<vault::VaultError> for Trouble {
    fn from(error: vault::VaultError) -> Trouble {
        Trouble::from(BoxFault::from(error))
    }
}

impl From<BoxFault> for Trouble {
    fn from(fault: BoxFault) -> Trouble {
        Trouble::new(fault.sentence())
    }
}
