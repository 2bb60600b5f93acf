//! Which flag stands for a field of the API: the server speaks of fields, its user typed a flag.

/// The last parts of a field's way, and the flag that fills it.
const FLAGS: &[(&str, &str)] = &[
    ("connection.path", "--path"),
    ("connection.url", "--url"),
    ("vault.url", "--vault"),
    ("soft_limit", "--soft-limit"),
    ("hard_limit", "--hard-limit"),
    ("max_snapshot_minutes", "--max-snapshot-minutes"),
    ("no_of_retention_copies", "--copies"),
    ("priority", "--priority"),
    ("auto_abort_in_minutes", "--auto-abort"),
    ("yield_to_ddl_seconds", "--yield-to-ddl"),
    ("run_type", "--run-type"),
    ("restore_to_a_different_database_on_target_site", "--to"),
    ("replace_existing", "--replace-existing"),
    ("skip_join_or_hash_indexes", "--skip-indexes"),
    ("skip_statstics", "--skip-statistics"),
    ("target_site", "--target-site"),
    ("x-auth-credentials", "--user"),
    ("idempotency-key", "--idempotency-key"),
    ("status", "--status"),
    ("since", "--since"),
    ("until", "--until"),
];

/// The flag for a field, as `--to` for `job_settings.restore_to_a_different_database_on_target_site`.
pub(crate) fn flag_of(field: &str) -> Option<&'static str> {
    let is_end = |end: &str| {
        field
            .strip_suffix(end)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    if field.starts_with("vault.options") {
        return Some("--vault-option");
    }
    FLAGS
        .iter()
        .find(|(end, _)| is_end(end))
        .map(|(_, flag)| *flag)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_field_is_known_by_its_end_and_as_a_whole_word() {
        let to = "job_settings.restore_to_a_different_database_on_target_site";
        assert_eq!(flag_of(to), Some("--to"));
        assert_eq!(flag_of("priority"), Some("--priority"));
        assert_eq!(flag_of("low_priority"), None);
        assert_eq!(flag_of("job_settings.objects[0].object_name"), None);
    }

    #[test]
    fn every_flag_of_the_table_is_there() {
        fn flags(command: &clap::Command, into: &mut Vec<String>) {
            into.extend(
                command
                    .get_arguments()
                    .filter_map(|a| a.get_long())
                    .map(|l| format!("--{l}")),
            );
            command
                .get_subcommands()
                .for_each(|below| flags(below, into));
        }
        let mut known = Vec::new();
        flags(&Cli::command(), &mut known);
        for (field, flag) in FLAGS {
            assert!(
                known.contains(&(*flag).to_owned()),
                "{flag} for {field} is no flag"
            );
        }
    }
}
