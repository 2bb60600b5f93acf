//! What a check of a site says about its deltas.

use model::FindingLevel;

use super::wal::Means;

/// Summaries that are kept for less long are soon gone when a delta a day is taken.
const TWO_DAYS: i64 = 2 * 24 * 60 * 60;

/// What a delta of a site would get, and what makes it better.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prospect {
    pub level: FindingLevel,
    pub detail: String,
    /// SQL.
    pub remedy: Option<String>,
}

impl Prospect {
    /// What a server's means, or the reason why it has none, promise to that role.
    pub(crate) fn of(means: &Result<Means, String>, role: &str) -> Prospect {
        let by_hash = |why: &str| format!("deltas read and compare all blocks: {why}");
        let (level, detail, remedy) = match means {
            Err(why) => (FindingLevel::Ok, by_hash(why), None),
            Ok(means) => match (means.lack(), better(means)) {
                // No setting helps: it is what the site is.
                (Some(why), _) if means.standby => (FindingLevel::Ok, by_hash(why), None),
                (Some(why), sql) => (FindingLevel::Warning, by_hash(why), sql),
                (None, _) => return Prospect::of_summaries(means, role),
            },
        };
        Prospect {
            level,
            detail,
            remedy,
        }
    }

    fn of_summaries(means: &Means, role: &str) -> Prospect {
        let kept = means.kept_seconds;
        let mut prospect = Prospect {
            level: FindingLevel::Ok,
            detail: "deltas read only what was written, which WAL summaries tell".into(),
            remedy: None,
        };
        if !means.may_checkpoint {
            prospect.level = FindingLevel::Warning;
            prospect.detail.push_str(&format!(
                "; but {role} may not CHECKPOINT: a delta waits for the server's own checkpoints, and where none comes in time the next one reads and compares all blocks"
            ));
            let role = role.replace('"', "\"\"");
            prospect.remedy = Some(format!("GRANT pg_checkpoint TO \"{role}\";"));
        } else if (1..TWO_DAYS).contains(&kept) {
            prospect.level = FindingLevel::Warning;
            prospect.detail.push_str(&format!(
                "; but they are kept for {} hours only: a delta whose base is older reads and compares all blocks",
                kept / 3600
            ));
            let sql = "ALTER SYSTEM SET wal_summary_keep_time = '10d'; SELECT pg_reload_conf();";
            prospect.remedy = Some(sql.into());
        }
        prospect
    }
}

/// The SQL that mends what means lack.
fn better(means: &Means) -> Option<String> {
    let mut sql = String::new();
    if !means.fsync {
        sql.push_str("ALTER SYSTEM SET fsync = on; ");
    }
    if !means.summarizes {
        sql.push_str("ALTER SYSTEM SET summarize_wal = on; ");
    }
    if means.minimal {
        sql.push_str("ALTER SYSTEM SET wal_level = replica; -- and restart");
    } else {
        sql.push_str("SELECT pg_reload_conf();");
    }
    Some(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means() -> Means {
        Means {
            summarizes: true,
            minimal: false,
            fsync: true,
            standby: false,
            kept_seconds: 864_000,
            may_checkpoint: true,
            system: "7".into(),
            timeline: 1,
            started: "now".into(),
        }
    }

    fn told(means: Means) -> (FindingLevel, String, String) {
        let told = Prospect::of(&Ok(means), "o\"dd");
        (told.level, told.detail, told.remedy.unwrap_or_default())
    }

    #[test]
    fn what_a_setting_or_a_grant_mends_is_a_warning_with_its_sql() {
        let (level, detail, remedy) = told(means());
        assert_eq!((level, remedy.as_str()), (FindingLevel::Ok, ""));
        assert!(detail.contains("only what was written"), "{detail}");
        for (change, words, sql) in [
            (
                Means {
                    summarizes: false,
                    ..means()
                },
                "summarize_wal is off",
                "summarize_wal = on; SELECT pg_reload_conf();",
            ),
            (
                Means {
                    summarizes: false,
                    minimal: true,
                    ..means()
                },
                "summarize_wal is off",
                "wal_level = replica; -- and restart",
            ),
            (
                Means {
                    fsync: false,
                    ..means()
                },
                "fsync is off",
                "fsync = on",
            ),
            (
                Means {
                    may_checkpoint: false,
                    ..means()
                },
                "may not CHECKPOINT",
                "GRANT pg_checkpoint TO \"o\"\"dd\";",
            ),
            (
                Means {
                    kept_seconds: 7200,
                    ..means()
                },
                "2 hours",
                "wal_summary_keep_time",
            ),
        ] {
            let (level, detail, remedy) = told(change);
            assert_eq!(level, FindingLevel::Warning, "{detail}");
            assert!(detail.contains(words), "{detail}");
            assert!(remedy.contains(sql), "{remedy}");
        }
    }

    #[test]
    fn what_nothing_mends_is_no_warning() {
        let (level, detail, remedy) = told(Means {
            standby: true,
            ..means()
        });
        assert_eq!((level, remedy.as_str()), (FindingLevel::Ok, ""));
        assert!(detail.contains("standby"), "{detail}");
        let old = Prospect::of(&Err("PostgreSQL 14 writes none".into()), "role");
        assert_eq!((old.level, old.remedy), (FindingLevel::Ok, None));
    }
}
