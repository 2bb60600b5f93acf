//! No error carries a code that the page of errors does not have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use contract::{Code, FAULTS};

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The words in quotes inside the bodies of `fn code(&self) -> &'static str`, and those that stand
/// in a pair with who is to blame.
fn codes_in(text: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for body in text.split("fn code(&self) -> &'static str").skip(1) {
        let end = body.find("\n    }").unwrap_or(body.len());
        for (i, word) in body[..end].split('"').enumerate() {
            if i % 2 == 1 {
                codes.insert(word.to_owned());
            }
        }
    }
    for before in text.rsplit("\", Blame::").skip(1) {
        codes.extend(before.rsplit('"').next().map(str::to_owned));
    }
    codes
}

#[test]
fn the_page_of_errors_has_every_code_that_a_fault_can_carry() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut missing = BTreeSet::new();
    let mut seen = 0;
    for room in [
        "catalog",
        "jobs",
        "vault",
        "flow",
        "engine-postgres",
        "engine-sqlite",
        "server",
    ] {
        let mut files = Vec::new();
        rust_files(&crates.join(room).join("src"), &mut files);
        for file in files {
            for code in codes_in(&std::fs::read_to_string(file).unwrap()) {
                seen += 1;
                let known =
                    Code::of(&code).is_some() || FAULTS.iter().any(|(word, _)| *word == code);
                if !known {
                    missing.insert(format!("{room}: {code}"));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} codes were found in the sources");
    assert!(
        missing.is_empty(),
        "not in contract/src/fault_codes.rs (add them, then BACKSTAY_WRITE_DOCS=1): {missing:#?}"
    );
}

#[test]
fn no_code_is_listed_twice() {
    let words: Vec<&str> = FAULTS.iter().map(|(word, _)| *word).collect();
    let unique: BTreeSet<&str> = words.iter().copied().collect();
    assert_eq!(words.len(), unique.len());
    assert!(words.iter().all(|word| Code::of(word).is_none()));
}
