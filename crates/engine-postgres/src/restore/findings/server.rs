//! What the server itself must bring: extensions, locales, collations.

use std::collections::{BTreeMap, BTreeSet};

use super::Look;
use crate::facts::{DatabaseFacts, ExtensionFacts};
use crate::restore::dictionary::Dictionary;
use crate::restore::fault::RestoreError;
use crate::session::Session;

/// Objects that PostgreSQL lets only superusers make, whatever they say.
const FOR_SUPERUSERS: [&str; 6] = [
    "ACCESS METHOD",
    "FOREIGN DATA WRAPPER",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "SHELL TYPE",
    "TEXT SEARCH PARSER",
];

/// DDL of a newer server is not made for an older one.
pub(super) fn version(look: &mut Look, session: &Session, facts: &DatabaseFacts) {
    let (source, target) = (facts.server_version_num / 10_000, session.major());
    if source > target {
        look.warn(format!(
            "the saveset is from PostgreSQL {source}, the target is {target}: what {target} does not know yet ends the restore"
        ));
    }
}

/// `only`: of these alone.
pub(super) async fn extensions(
    look: &mut Look,
    session: &Session,
    facts: &DatabaseFacts,
    only: Option<&BTreeSet<&str>>,
) -> Result<(), RestoreError> {
    let extensions = facts.needs.extensions.iter();
    let extensions: Vec<&ExtensionFacts> = extensions
        .filter(|extension| only.is_none_or(|only| only.contains(&*extension.name)))
        .collect();
    let wanted: Vec<&str> = extensions.iter().map(|e| &*e.name).collect();
    let sql = include_str!("../../../sql/available_extensions_14.sql");
    let doing = "reading the extensions that the target has";
    let rows = session.rows(sql, &[&wanted], doing).await?;
    let there: BTreeMap<String, (String, bool)> = rows
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect();
    for extension in extensions {
        let name = &extension.name;
        match there.get(name) {
            None => look.obstacle(
                "missing-extension",
                format!("the extension {name:?} is not installed on the target's machine"),
                format!("install the package that brings {name:?} there"),
            ),
            Some((_, false)) if !look.decisions.superuser => look.obstacle(
                "extension-needs-superuser",
                format!("only a superuser may make the extension {name:?}"),
                "let the restore run as a superuser".to_owned(),
            ),
            Some((version, _)) if *version != extension.version => look.steps.push(format!(
                "make the extension {name:?} in version {version}; it was {}",
                extension.version
            )),
            Some(_) => {}
        }
    }
    Ok(())
}

pub(super) async fn locale(
    look: &mut Look,
    session: &Session,
    facts: &DatabaseFacts,
) -> Result<(), RestoreError> {
    if !provider_is_known(&facts.locale_provider, session.major()) {
        look.warn(format!(
            "the database's locale comes from a provider that PostgreSQL {} does not have: the restored one gets the server's locale, and texts may be sorted in another way",
            session.major()
        ));
    }
    let sql = include_str!("../../../sql/libc_locales_14.sql");
    let rows = session
        .rows(sql, &[], "reading the target's locales")
        .await?;
    let known: BTreeSet<String> = rows.iter().map(|row| plain(row.get(0))).collect();
    for locale in BTreeSet::from([&facts.lc_collate, &facts.lc_ctype]) {
        if !known.contains(&plain(locale)) {
            look.warn(format!(
                "the locale {locale:?} seems not to be on the target's machine: without it the restored database gets the server's, and texts may be sorted in another way"
            ));
        }
    }
    let sql = include_str!("../../../sql/system_collations_14.sql");
    let wanted = &facts.needs.collations;
    let rows = session
        .rows(sql, &[wanted], "reading the target's collations")
        .await?;
    let known: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    for collation in wanted.iter().filter(|name| !known.contains(*name)) {
        look.obstacle(
            "missing-collation",
            format!("columns or indexes need the collation {collation:?}, which the target does not have"),
            "install that locale there and run pg_import_system_collations('pg_catalog')".to_owned(),
        );
    }
    Ok(())
}

/// Whether a server of that version can make a database with a locale of that provider.
pub(in crate::restore) fn provider_is_known(provider: &str, server_major: u32) -> bool {
    match provider {
        "i" => server_major >= 15,
        "b" => server_major >= 17,
        _ => true,
    }
}

/// `en_US.UTF-8` and `en_US.utf8` are one locale.
fn plain(locale: &str) -> String {
    locale
        .chars()
        .filter(|c| *c != '-')
        .flat_map(char::to_lowercase)
        .collect()
}

pub(super) fn only_for_superusers(look: &mut Look, dictionary: &Dictionary) {
    if look.decisions.superuser {
        return;
    }
    let entries = dictionary.before_rows.entries.iter();
    let found: Vec<String> = entries
        .filter(|entry| FOR_SUPERUSERS.contains(&entry.kind.as_str()))
        .map(|entry| entry.title())
        .collect();
    if let Some(first) = found.first() {
        look.obstacle(
            "needs-superuser",
            format!(
                "{} objects of the saveset may be made by superusers only, such as {first}",
                found.len()
            ),
            "let the restore run as a superuser".to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_locale_are_one() {
        assert_eq!(plain("en_US.UTF-8"), plain("en_US.utf8"));
        assert_ne!(plain("en_US.UTF-8"), plain("de_DE.UTF-8"));
    }

    #[test]
    fn a_provider_is_known_from_its_first_version_on() {
        assert!(provider_is_known("c", 14));
        assert!(!provider_is_known("i", 14) && provider_is_known("i", 15));
        assert!(!provider_is_known("b", 16) && provider_is_known("b", 17));
    }
}
