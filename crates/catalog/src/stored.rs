//! Values as the database keeps them: whole numbers, words and JSON. What does not read back was
//! not written by this program, and is named as damage.

use std::str::FromStr;

use model::{IdError, Moment, SiteId};

use crate::CatalogError;

/// A count or a size as the database keeps it.
pub(crate) fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count or a size as it was kept; the database never holds a negative one.
pub(crate) fn as_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A document as the database keeps it.
pub(crate) fn to_json<T: serde::Serialize>(what: &str, value: &T) -> Result<String, CatalogError> {
    serde_json::to_string(value)
        .map_err(|error| CatalogError::Damaged(format!("{what} cannot be written: {error}")))
}

/// A document as it was kept.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(
    what: &str,
    text: &str,
) -> Result<T, CatalogError> {
    serde_json::from_str(text)
        .map_err(|error| CatalogError::Damaged(format!("{what} cannot be read: {error}")))
}

/// An id as it was kept.
pub(crate) fn id_from<T: TryFrom<i64, Error = IdError>>(number: i64) -> Result<T, CatalogError> {
    T::try_from(number).map_err(|error| CatalogError::Damaged(error.to_string()))
}

/// An id as it was kept, where there may be none.
pub(crate) fn maybe_id<T: TryFrom<i64, Error = IdError>>(
    number: Option<i64>,
) -> Result<Option<T>, CatalogError> {
    number.map(id_from).transpose()
}

/// A site's id as it was kept.
pub(crate) fn site_from(text: &str) -> Result<SiteId, CatalogError> {
    text.parse()
        .map_err(|error: IdError| CatalogError::Damaged(error.to_string()))
}

/// A word of an enum as it was kept.
pub(crate) fn word_from<T: FromStr>(what: &str, text: &str) -> Result<T, CatalogError> {
    text.parse()
        .map_err(|_| CatalogError::Damaged(format!("{text:?} is no {what}")))
}

/// A moment as it was kept, where there may be none.
pub(crate) fn maybe_moment(micros: Option<i64>) -> Option<Moment> {
    micros.map(Moment::from_micros)
}
