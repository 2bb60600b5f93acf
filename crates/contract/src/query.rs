//! Reads the query of a request.

use std::str::FromStr;

use model::{ExecutionStatus, JobType, Moment, ObjectName, ObjectType, Parent, RunType};

use crate::fields::one_of;
use crate::operations::{
    BROWSE, EXECUTE_QUERY, EXECUTIONS, JOBS, OBJECTS, PAGES, PREPARATION, Parameter, ParameterKind,
};
use crate::quirks::nearest;
use crate::words::all;
use crate::{Page, Refusal};

/// Names and values of a query, decoded, in the order given.
pub type Pairs = Vec<(String, String)>;

/// A query whose names are all known and given once.
struct Reader<'a>(&'a [(String, String)]);

impl<'a> Reader<'a> {
    fn of(pairs: &'a [(String, String)], parameters: &[Parameter]) -> Result<Self, Refusal> {
        let known: Vec<&'static str> = parameters
            .iter()
            .filter(|p| p.kind == ParameterKind::Query)
            .map(|p| p.name)
            .collect();
        for (i, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Refusal::UnknownParameter {
                    name: name.clone(),
                    nearest: nearest(name, &known).map(str::to_owned),
                    known,
                });
            }
            if pairs[..i].iter().any(|(other, _)| other == name) {
                return Err(Refusal::parameter(name, "is given twice; give it once"));
            }
        }
        Ok(Reader(pairs))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A word in any letter case.
    fn word<T>(&self, name: &str) -> Result<Option<T>, Refusal>
    where
        T: FromStr + strum::IntoEnumIterator + std::fmt::Display,
    {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(word) => Ok(Some(word)),
            Err(_) => Err(Refusal::parameter(name, one_of(&all::<T>(), text))),
        }
    }

    fn number(&self, name: &str, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text
            .parse()
            .ok()
            .filter(|n| plain && (1..=most).contains(n));
        number.map(Some).ok_or_else(|| {
            let bounds = if most == u64::MAX {
                "must be a whole number of 1 or more".to_owned()
            } else {
                format!("must be a whole number from 1 to {most}")
            };
            Refusal::parameter(name, format!("{bounds}, not {text:?}"))
        })
    }

    /// The page, if `page` or `page-size` is given.
    fn page(&self) -> Result<Option<Page>, Refusal> {
        // Beyond this no page can have rows, and offsets stay inside the catalog's integers.
        let number = self.number("page", u64::MAX)?.map(|n| n.min(1 << 40));
        let size = self.number("page-size", Page::MAX_SIZE)?;
        Ok(match (number, size) {
            (None, None) => None,
            (number, size) => Some(Page {
                number: number.unwrap_or(1),
                size: size.unwrap_or(Page::DEFAULT_SIZE),
            }),
        })
    }

    fn moment(&self, name: &str) -> Result<Option<Moment>, Refusal> {
        let parsed = self.get(name).map(str::parse::<Moment>).transpose();
        parsed.map_err(|_| {
            let given = self.get(name).unwrap_or_default();
            Refusal::parameter(
                name,
                format!("must be RFC 3339, as 2026-01-31T02:00:00Z, not {given:?}"),
            )
        })
    }

    fn search(&self) -> Option<String> {
        self.get("search")
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
    }
}

/// Refuses every parameter: for operations that take none.
///
/// # Errors
/// [`Refusal::UnknownParameter`] for the first.
pub fn refuse_query(pairs: &[(String, String)]) -> Result<(), Refusal> {
    Reader::of(pairs, &[]).map(|_| ())
}

/// Row 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobsQuery {
    /// `None`: all.
    pub is_active: Option<bool>,
    /// `None`: both.
    pub job_type: Option<JobType>,
    /// The first ten by default.
    pub page: Page,
}

impl JobsQuery {
    /// Reads it.
    ///
    /// # Errors
    /// A name that is not known, or a value that cannot be.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let reader = Reader::of(pairs, JOBS)?;
        let is_active = match reader.get("is-active") {
            None => None,
            Some(text) if text.is_empty() || text.eq_ignore_ascii_case("true") => Some(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Some(text) => {
                let why = format!("must be true or false, not {text:?}");
                return Err(Refusal::parameter("is-active", why));
            }
        };
        Ok(JobsQuery {
            is_active,
            job_type: reader.word("job-type")?,
            page: reader.page()?.unwrap_or(Page {
                number: 1,
                size: Page::DEFAULT_SIZE,
            }),
        })
    }
}

/// Rows 4, 5, 10 and 13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionsQuery {
    /// `None`: every row.
    pub page: Option<Page>,
    /// Only this status.
    pub status: Option<ExecutionStatus>,
    /// `None`: both.
    pub job_type: Option<JobType>,
    /// Started then or later.
    pub since: Option<Moment>,
    /// Started before.
    pub until: Option<Moment>,
}

impl ExecutionsQuery {
    /// Reads it.
    ///
    /// # Errors
    /// A name that is not known, or a value that cannot be.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let reader = Reader::of(pairs, EXECUTIONS)?;
        let (since, until) = (reader.moment("since")?, reader.moment("until")?);
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(Refusal::parameter("until", "must be later than `since`"));
        }
        Ok(ExecutionsQuery {
            page: reader.page()?,
            status: reader.word("status")?,
            job_type: reader.word("job-type")?,
            since,
            until,
        })
    }
}

/// Lists without a filter: sites and savesets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageQuery {
    /// `None`: every row.
    pub page: Option<Page>,
}

impl PageQuery {
    /// Reads it.
    ///
    /// # Errors
    /// A name that is not known, or a value that cannot be.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let page = Reader::of(pairs, PAGES)?.page()?;
        Ok(PageQuery { page })
    }
}

/// Row 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectsQuery {
    /// `None`: every row.
    pub page: Option<Page>,
    /// Only names that hold it, in any letter case.
    pub search: Option<String>,
}

impl ObjectsQuery {
    /// Reads it.
    ///
    /// # Errors
    /// A name that is not known, or a value that cannot be.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let reader = Reader::of(pairs, OBJECTS)?;
        Ok(ObjectsQuery {
            page: reader.page()?,
            search: reader.search(),
        })
    }
}

/// Row 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreparationQuery {
    /// `None`: the newest of the site.
    pub id: Option<u64>,
}

impl PreparationQuery {
    /// Reads it.
    ///
    /// # Errors
    /// A name that is not known, or a value that cannot be.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let id = Reader::of(pairs, PREPARATION)?.number("id", u64::MAX)?;
        Ok(PreparationQuery { id })
    }
}

/// Row 3: `run_type` may stand in the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecuteQuery {
    /// What was asked for.
    pub run_type: Option<RunType>,
}

impl ExecuteQuery {
    /// Reads it.
    ///
    /// # Errors
    /// A name that is not known, or a value that cannot be.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let run_type = Reader::of(pairs, EXECUTE_QUERY)?.word("run_type")?;
        Ok(ExecuteQuery { run_type })
    }
}

/// Browsing a live site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowseQuery {
    /// Where to look.
    pub parent: Parent,
    /// Only names that hold it, in any letter case.
    pub search: Option<String>,
}

impl BrowseQuery {
    /// Reads it.
    ///
    /// # Errors
    /// A name that is not known, or a value that cannot be.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let reader = Reader::of(pairs, BROWSE)?;
        match reader.word::<ObjectType>("parent_type")? {
            None | Some(ObjectType::Database) => {}
            Some(other) => {
                return Err(Refusal::not_built(
                    "parent_type",
                    format!("looking into a {other}"),
                    "only DATABASE can be looked into, DBC for the databases themselves",
                ));
            }
        }
        let parent = match reader.get("parent_name") {
            None | Some("DBC") => Parent::Root,
            Some(text) => Parent::Database(ObjectName::database(text).map_err(|_| {
                Refusal::parameter("parent_name", "must be the name of a database, or DBC")
            })?),
        };
        Ok(BrowseQuery {
            parent,
            search: reader.search(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(given: &[(&str, &str)]) -> Pairs {
        given
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn is_active_without_a_value_means_true_and_absent_means_all() {
        let read = |given: &[(&str, &str)]| JobsQuery::parse(&pairs(given)).map(|q| q.is_active);
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("is-active", "")]), Ok(Some(true)));
        assert_eq!(read(&[("is-active", "TRUE")]), Ok(Some(true)));
        assert_eq!(read(&[("is-active", "false")]), Ok(Some(false)));
        assert!(read(&[("is-active", "yes")]).is_err());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_known_one() {
        let refused = JobsQuery::parse(&pairs(&[("is_active", "true")])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the query parameter `is_active` is not known; did you mean `is-active`?"
        );
        let refused = refuse_query(&pairs(&[("x", "1")])).unwrap_err();
        assert!(refused.to_string().ends_with("this operation takes none"));
    }

    #[test]
    fn pages_run_from_1_and_have_1_to_1000_rows() {
        let read = |given: &[(&str, &str)]| JobsQuery::parse(&pairs(given)).map(|q| q.page);
        assert_eq!(
            read(&[]),
            Ok(Page {
                number: 1,
                size: 10
            })
        );
        assert_eq!(
            read(&[("page", "3"), ("page-size", "1000")]),
            Ok(Page {
                number: 3,
                size: 1000
            })
        );
        for bad in ["0", "-1", "", "1.5", "x", "+1"] {
            assert!(read(&[("page", bad)]).is_err(), "{bad}");
        }
        assert!(read(&[("page-size", "1001")]).is_err());
        assert!(read(&[("page-size", "0")]).is_err());
        assert!(read(&[("page", "1"), ("page", "2")]).is_err());
        assert_eq!(
            read(&[("page", "18446744073709551615")]).map(|p| p.size),
            Ok(10)
        );
    }

    #[test]
    fn executions_are_all_unless_a_page_is_asked_for() {
        let read = |given: &[(&str, &str)]| ExecutionsQuery::parse(&pairs(given));
        assert_eq!(read(&[]).unwrap().page, None);
        assert_eq!(
            read(&[("page-size", "5")]).unwrap().page,
            Some(Page { number: 1, size: 5 })
        );
        let filtered = read(&[
            ("status", "completed_with_warnings"),
            ("job-type", "Restore"),
        ]);
        let filtered = filtered.unwrap();
        assert_eq!(
            filtered.status,
            Some(ExecutionStatus::CompletedWithWarnings)
        );
        assert_eq!(filtered.job_type, Some(JobType::Restore));
        let (a, b) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        assert!(read(&[("since", a), ("until", b)]).is_ok());
        assert!(read(&[("since", b), ("until", a)]).is_err());
        assert!(read(&[("since", "yesterday")]).is_err());
    }
}
