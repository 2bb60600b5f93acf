//! The house checks itself: which crate may see which, how long files and functions may grow, words
//! that have no place, files that nobody reads. A rule is changed here, with a reason, or kept.
#![allow(clippy::unwrap_used, reason = "test code: a panic is a failure")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may name whom under `[dependencies]`. Each edge that is missing would be convenient on some
/// bad day: then a format knows SQL, or a rule cannot be tested without a server.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("contract", &["model"]),
    ("vault", &["model"]),
    ("engine-postgres", &["model"]),
    ("engine-sqlite", &["model"]),
    ("flow", &["model", "vault"]),
    ("catalog", &["model"]),
    ("jobs", &["catalog", "flow", "model", "vault"]),
    ("server", &["catalog", "contract", "jobs", "model"]),
    (
        "backstay",
        &[
            "catalog",
            "contract",
            "engine-postgres",
            "engine-sqlite",
            "flow",
            "jobs",
            "model",
            "server",
            "vault",
        ],
    ),
    ("testkit", &["model"]),
    // Nobody depends on it: it plays the product against real servers.
    (
        "torture",
        &["engine-postgres", "flow", "model", "testkit", "vault"],
    ),
];

/// What code must not say, and what to do instead.
const WORDS: &[(&str, &str)] = &[
    ("todo!(", "build it, or refuse the request with an error"),
    (
        "unimplemented!(",
        "build it, or refuse the request with an error",
    ),
    ("dbg!(", "tracing::debug!, or nothing"),
    (
        "#[ignore",
        "a test that cannot run fails, naming what is missing",
    ),
    ("#[path", "put the file where its module is looked for"),
];

/// Names of drawers: what lies in one has not been understood yet.
const DRAWERS: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "util", "utils",
];

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 100;
const PAGE_LINES: usize = 5;

#[test]
fn crates_see_only_whom_they_may() {
    let mut wrong = Vec::new();
    let allowed: BTreeMap<&str, BTreeSet<&str>> = EDGES
        .iter()
        .map(|(name, edges)| (*name, edges.iter().copied().collect()))
        .collect();
    let found: BTreeSet<String> = crates().iter().map(|c| name_of(c)).collect();
    let known: BTreeSet<String> = allowed.keys().map(ToString::to_string).collect();
    assert_eq!(found, known, "the crates of the workspace");
    for folder in crates() {
        let name = name_of(&folder);
        let manifest = manifest(&folder);
        let ours = |section: &str| -> BTreeSet<&str> {
            let table = manifest.get(section).and_then(toml::Value::as_table);
            let names = table.into_iter().flat_map(|table| table.keys());
            names
                .map(String::as_str)
                .filter(|n| allowed.contains_key(n))
                .collect()
        };
        let may = &allowed[name.as_str()];
        if ours("dependencies") != *may {
            wrong.push(format!(
                "{name} depends on {:?}, the house says {may:?}",
                ours("dependencies")
            ));
        }
        for extra in ours("dev-dependencies")
            .difference(may)
            // A crate names itself where its tests need features of its own.
            .filter(|n| **n != "testkit" && **n != name)
        {
            wrong.push(format!("the tests of {name} must not see {extra}"));
        }
        if manifest
            .get("dependencies")
            .is_some_and(|d| d.get("anyhow").is_some())
            && name != "backstay"
        {
            wrong.push(format!(
                "{name} uses anyhow: errors have types everywhere below main"
            ));
        }
    }
    none(&wrong);
}

/// Stores of the net bring HTTP and TLS with them: only the program that is shipped has them, and
/// all other crates are built and tested without.
#[test]
fn only_the_program_has_the_stores_of_the_net() {
    let mut wrong = Vec::new();
    let workspace: toml::Value = toml::from_str(&read(&root().join("Cargo.toml"))).unwrap();
    let wanted = &workspace["workspace"]["dependencies"]["object_store"];
    assert_eq!(wanted["features"], toml::Value::from(vec!["fs"]));
    assert_eq!(wanted["default-features"], toml::Value::from(false));
    for folder in crates() {
        let (name, manifest) = (name_of(&folder), manifest(&folder));
        let dependencies = manifest.get("dependencies");
        for store in ["vault", "object_store"] {
            let features = dependencies
                .and_then(|table| table.get(store)?.get("features"))
                .is_some();
            if features != (name == "backstay" && store == "vault") {
                wrong.push(format!("{name}: features of {store}: {features}"));
            }
        }
        let on = manifest
            .get("features")
            .and_then(|table| table.get("default"));
        if on.is_some() {
            wrong.push(format!("{name} has features that are on by themselves"));
        }
    }
    none(&wrong);
}

#[test]
fn no_code_says_a_forbidden_word() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let code = without_text(&read(&file));
        for (number, line) in code.lines().enumerate() {
            for (word, instead) in WORDS.iter().filter(|(word, _)| line.contains(word)) {
                wrong.push(format!(
                    "{}:{}: {word}: {instead}",
                    shown(&file),
                    number + 1
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn no_module_is_a_drawer() {
    let wrong: Vec<String> = rust_files()
        .iter()
        .filter(|file| {
            let names = file.strip_prefix(root()).unwrap().components();
            names
                .map(|part| part.as_os_str().to_string_lossy().into_owned())
                .any(|part| DRAWERS.contains(&part.trim_end_matches(".rs")))
        })
        .map(|file| format!("{}: name it for what it holds", shown(file)))
        .collect();
    none(&wrong);
}

#[test]
fn files_and_functions_stay_short() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let text = read(&file);
        let lines = text.lines().count();
        if lines > FILE_LINES {
            wrong.push(format!(
                "{} has {lines} lines, {FILE_LINES} are the most",
                shown(&file)
            ));
        }
        for (line, name, length) in functions(&without_text(&text)) {
            if length > FUNCTION_LINES {
                let place = shown(&file);
                wrong.push(format!(
                    "{place}:{line}: {name} has {length} lines, {FUNCTION_LINES} are the most"
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_rust_file_is_part_of_a_crate() {
    let mut wrong = Vec::new();
    for folder in crates() {
        for (part, roots) in [
            ("src", roots_of_src(&folder)),
            ("tests", roots_of_tests(&folder)),
        ] {
            let mut reached = BTreeSet::new();
            for root in &roots {
                reach(root, true, &mut reached);
            }
            for file in walk(&folder.join(part)).iter().filter(|f| is(f, "rs")) {
                if !reached.contains(file) {
                    wrong.push(format!("{}: no `mod` leads to it", shown(file)));
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_query_and_script_is_used() {
    let mut wrong = Vec::new();
    for folder in crates() {
        let files = walk(&folder);
        let code: String = files
            .iter()
            .filter(|f| is(f, "rs"))
            .map(|f| read(f))
            .collect();
        for file in files.iter().filter(|f| is(f, "sql") || is(f, "sh")) {
            // Migrations are taken in as a folder.
            let in_migrations = file
                .components()
                .any(|part| part.as_os_str() == "migrations");
            if !in_migrations && !code.contains(&name_of(file)) {
                wrong.push(format!("{}: no code names it", shown(file)));
            }
        }
    }
    none(&wrong);
}

#[test]
fn a_crate_has_at_most_one_integration_test_binary() {
    let wrong: Vec<String> = crates()
        .iter()
        .map(|folder| (folder, roots_of_tests(folder)))
        .filter(|(_, roots)| roots.len() > 1)
        .map(|(folder, roots)| format!("{}: {roots:?}: each one links everything", shown(folder)))
        .collect();
    none(&wrong);
}

#[test]
fn every_crate_opens_with_a_page_for_newcomers() {
    let mut wrong = Vec::new();
    for root in crates().iter().flat_map(|folder| roots_of_src(folder)) {
        let lines = read(&root)
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        if lines < PAGE_LINES {
            wrong.push(format!(
                "{} opens with {lines} lines of `//!`: say what it is, what it is not, its main types",
                shown(&root)
            ));
        }
    }
    none(&wrong);
}

#[test]
fn a_clone_stands_alone() {
    let outside = concat!("..", "/shared");
    let wrong: Vec<String> = walk(&root())
        .iter()
        .filter(|file| {
            let text = fs::read(file).unwrap();
            String::from_utf8_lossy(&text).contains(outside)
        })
        .map(|file| format!("{} refers to {outside}, which no clone has", shown(file)))
        .collect();
    none(&wrong);
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

fn crates() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("crates")).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("Cargo.toml").exists());
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

fn manifest(folder: &Path) -> toml::Table {
    read(&folder.join("Cargo.toml")).parse().unwrap()
}

fn roots_of_src(folder: &Path) -> Vec<PathBuf> {
    let roots = ["src/lib.rs", "src/main.rs"].map(|root| folder.join(root));
    roots.into_iter().filter(|root| root.exists()).collect()
}

/// As cargo finds them: `tests/x.rs` and `tests/x/main.rs`.
fn roots_of_tests(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join("tests")) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            if path.is_dir() {
                path.join("main.rs")
            } else {
                path
            }
        })
        .filter(|path| is(path, "rs") && path.exists())
        .collect()
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = walk(&root());
    files.retain(|file| is(file, "rs"));
    assert!(files.len() > EDGES.len());
    files
}

/// All files below a folder, without what is made or kept by tools.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return files;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let kind = entry.file_type().unwrap();
        if kind.is_dir()
            && !["target", ".git", "backstay-data"]
                .iter()
                .any(|n| name == *n)
        {
            files.extend(walk(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", shown(file)))
}

fn is(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|e| e == extension)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn shown(file: &Path) -> String {
    let short = file.strip_prefix(root()).unwrap_or(file);
    short.display().to_string()
}

/// Follows `mod name;` from a file. The children of a crate's root and of a `mod.rs` lie beside it,
/// those of others in a folder of its name.
fn reach(file: &Path, is_root: bool, reached: &mut BTreeSet<PathBuf>) {
    if !reached.insert(file.to_owned()) {
        return;
    }
    let beside = is_root || file.file_stem().is_some_and(|stem| stem == "mod");
    let folder = if beside {
        file.parent().unwrap().to_owned()
    } else {
        file.with_extension("")
    };
    let code = without_text(&read(file));
    let words: Vec<&str> = code.split_whitespace().collect();
    for pair in words.windows(2).filter(|pair| pair[0] == "mod") {
        let Some(name) = pair[1].strip_suffix(';') else {
            continue;
        };
        let places = [
            folder.join(format!("{name}.rs")),
            folder.join(name).join("mod.rs"),
        ];
        for place in places.iter().filter(|place| place.exists()) {
            reach(place, false, reached);
        }
    }
}

/// First line, name and length of each function that has a body.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_a_word = at == 0 || !is_word(code.as_bytes()[at - 1]);
        let rest = &code[at + 3..];
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if !starts_a_word || name.is_empty() {
            continue;
        }
        if let Some(end) = end_of_body(rest) {
            let line = code[..at].lines().count().max(1);
            found.push((line, name, rest[..end].lines().count()));
        }
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where the body that begins here ends; nothing for a declaration.
fn end_of_body(code: &str) -> Option<usize> {
    let (mut braces, mut others) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others -= 1,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            ';' if braces == 0 && others == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The code alone, line for line: comments, strings and characters become blanks.
fn without_text(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + length_of_text(&source[at..], at > 0 && is_word(bytes[at - 1]));
        for byte in code[at..end].iter_mut().filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
        at = end.max(at + 1);
        while !source.is_char_boundary(at) {
            at += 1;
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// How many bytes of comment, string or character begin here.
fn length_of_text(rest: &str, after_word: bool) -> usize {
    let up_to = |mark: &str, from: usize| {
        rest[from..]
            .find(mark)
            .map_or(rest.len(), |found| from + found + mark.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return up_to("*/", 2);
    }
    if !after_word && (rest.starts_with("r\"") || rest.starts_with("r#") || rest.starts_with("br"))
    {
        let prefix = if rest.starts_with('b') { 2 } else { 1 };
        let hashes = rest[prefix..].bytes().take_while(|b| *b == b'#').count();
        if rest[prefix + hashes..].starts_with('"') {
            return up_to(&format!("\"{}", "#".repeat(hashes)), prefix + hashes + 1);
        }
    }
    match rest.as_bytes() {
        [b'"', ..] => quoted(rest, b'"'),
        // A character; else the quote begins a lifetime.
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        [b'\'', ..] => {
            let mut chars = rest.char_indices().skip(2);
            match chars.next() {
                Some((end, '\'')) => end + 1,
                _ => 0,
            }
        }
        _ => 0,
    }
}

fn quoted(rest: &str, mark: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != mark {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

#[test]
fn the_checks_see_code_and_not_text() {
    let source = concat!(
        "fn a<'x>(c: &'x [u8; 2]) -> char { // { not ",
        "code\n    let s = \"} \\\" {\"; let r = r#\"\"}\"#; '}'\n}\n",
        "/* fn no() { */ trait T { fn only(&self);\n fn b() {\n\n\n} }\n",
    );
    let code = without_text(source);
    assert_eq!(code.lines().count(), source.lines().count());
    assert!(!code.contains("not"), "{code}");
    let found = functions(&code);
    let found: Vec<_> = found
        .iter()
        .map(|(line, name, length)| (*line, name.as_str(), *length))
        .collect();
    assert_eq!(found, [(1, "a", 3), (5, "b", 4)]);
}
