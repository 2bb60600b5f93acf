//! The table of `docs/contract-coverage.md` against the samples and the tests that it names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::samples_hold::{EXECUTE, GET_JOB, LIST_EXECUTIONS, LIST_JOB_EXECUTIONS, LIST_JOBS};
use testkit::shape::paths;

/// Parameters of the reference's five operations.
const PARAMETERS: [(&str, &str); 12] = [
    ("1", "site_id"),
    ("1", "is-active"),
    ("1", "page"),
    ("1", "page-size"),
    ("1", "job-type"),
    ("2", "site_id"),
    ("2", "job_id"),
    ("3", "site_id"),
    ("3", "job_id"),
    ("3", "run_type"),
    ("4", "site_id"),
    ("5", "job_id"),
];

/// Rows of the table: operation, field or parameter, test.
fn table() -> Vec<(String, String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract-coverage.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| row"));
    rows.map(|line| {
        let cells: Vec<String> = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect();
        assert_eq!(cells.len(), 3, "{line}");
        (cells[0].clone(), cells[1].clone(), cells[2].clone())
    })
    .collect()
}

#[test]
fn the_table_has_every_field_and_parameter_of_the_reference() {
    let mut wanted: BTreeSet<(String, String)> = PARAMETERS
        .iter()
        .map(|(row, name)| ((*row).to_owned(), (*name).to_owned()))
        .collect();
    for (row, sample) in [
        ("1", LIST_JOBS),
        ("2", GET_JOB),
        ("3", EXECUTE),
        ("4", LIST_EXECUTIONS),
        ("5", LIST_JOB_EXECUTIONS),
    ] {
        let sample: Value = serde_json::from_str(sample).unwrap();
        for path in paths(&sample) {
            wanted.insert((row.to_owned(), path.trim_start_matches("[].").to_owned()));
        }
    }
    let there: BTreeSet<(String, String)> = table()
        .into_iter()
        .map(|(row, name, _)| (row, name))
        .collect();
    let missing: Vec<_> = wanted.difference(&there).collect();
    assert!(
        missing.is_empty(),
        "not in docs/contract-coverage.md: {missing:#?}"
    );
    let foreign: Vec<_> = there.difference(&wanted).collect();
    assert!(foreign.is_empty(), "not in the reference: {foreign:#?}");
}

#[test]
fn every_test_that_the_table_names_is_there() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut code = String::new();
    for folder in [
        "server/tests/server",
        "contract/tests/contract",
        "contract/src",
        "backstay/tests/backstay",
    ] {
        for entry in std::fs::read_dir(crates.join(folder)).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "rs") {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    for (row, name, test) in table() {
        assert!(
            code.contains(&format!("fn {test}(")),
            "row {row}, {name}: no test {test}"
        );
    }
}
