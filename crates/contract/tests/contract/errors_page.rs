use std::path::Path;

use contract::{Code, Refusal, parse_json};

#[test]
fn the_page_of_errors_lists_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    if std::env::var_os("BACKSTAY_WRITE_DOCS").is_some() {
        std::fs::write(&path, Code::page()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        page,
        Code::page(),
        "docs/errors.md has fallen behind; BACKSTAY_WRITE_DOCS=1 writes it anew"
    );
}

#[test]
fn a_code_is_found_by_its_word_and_its_status_is_an_error() {
    for code in Code::ALL {
        assert!((400..600).contains(&code.status()), "{}", code.as_str());
        let found = Code::of(code.as_str()).unwrap();
        assert_eq!(found.as_str(), code.as_str());
    }
}

#[test]
fn bad_json_is_refused_with_line_and_column() {
    let refused = parse_json(b"{\n  \"name\": oops\n}").unwrap_err();
    assert!(
        matches!(
            refused,
            Refusal::Json {
                line: 2,
                column: 11,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(parse_json(b" \n"), Err(Refusal::NoBody));
}
