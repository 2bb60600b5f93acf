//! The spellings of the wire that one would trip over, all in one place.
//!
//! - Words (`FULL`, `Backup`, `queued`, …) are read in any letter case and written in capitals:
//!   the `FromStr` of `model`'s enums does it.
//! - `execution_id` is a string of digits in lists and in `x-resource-id`, a number in
//!   `last_execution_details`; a saveset id is a number in answers and a string in
//!   `retained_copy`. Both forms are read wherever an id comes in a body: [`id_text`].
//! - `skip_statstics` is spelt so; `skip_statistics` is accepted too: [`skip_statistics`].
//! - `siteTargetType` and `targetSiteDetails` are camelCase, all else snake_case; the constants
//!   here are the one place that spells them.

use serde_json::Value;

use crate::Refusal;
use crate::fields::Fields;

/// Where the site's vault is.
pub(crate) const SITE_TARGET_TYPE: &str = "siteTargetType";
/// The second site of a job.
pub(crate) const TARGET_SITE_DETAILS: &str = "targetSiteDetails";
/// As the wire spells it.
pub(crate) const SKIP_STATISTICS: &str = "skip_statstics";
/// As one would spell it.
pub(crate) const SKIP_STATISTICS_RIGHTLY: &str = "skip_statistics";

/// The known name that is spelt most like the one given, if any is near enough to have been meant.
/// Case, `-` and `_` make no distance: `is_active` means `is-active`.
pub fn nearest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let given = plain(given);
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &plain(name)), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// An id in a body: a number or a string.
pub(crate) fn id_text(fields: &Fields<'_>, name: &str) -> Result<Option<String>, Refusal> {
    match fields.value(name) {
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        _ => Ok(fields.text(name)?.map(str::to_owned)),
    }
}

/// `skip_statstics` in either spelling; both and different is refused.
pub(crate) fn skip_statistics(fields: &Fields<'_>) -> Result<bool, Refusal> {
    let wire = fields.optional_flag(SKIP_STATISTICS)?;
    let rightly = fields.optional_flag(SKIP_STATISTICS_RIGHTLY)?;
    match (wire, rightly) {
        (Some(one), Some(other)) if one != other => Err(fields.wrong(
            SKIP_STATISTICS_RIGHTLY,
            format!("says something else than `{SKIP_STATISTICS}`; give only one of them"),
        )),
        (one, other) => Ok(one.or(other).unwrap_or(false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_forgives_case_hyphens_and_small_slips() {
        let known = ["is-active", "page", "page-size", "job-type"];
        assert_eq!(nearest("is_active", &known), Some("is-active"));
        assert_eq!(nearest("PageSize", &known), Some("page-size"));
        assert_eq!(nearest("jobtype", &known), Some("job-type"));
        assert_eq!(nearest("colour", &known), None);
    }
}
