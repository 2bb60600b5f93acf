//! Each *must* of the format's page has a test that is named after its number.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_must_of_the_formats_page_has_a_test_of_its_number() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(crate_root.join("../../docs/saveset-format.md")).unwrap();
    let (_, musts) = page.split_once("## 9. What must hold").unwrap();
    let (musts, _) = musts.split_once("\n## ").unwrap();
    let number = |line: &str| line.split_once(". ")?.0.parse::<u32>().ok();
    let numbered: BTreeSet<u32> = musts.lines().filter_map(number).collect();
    let mut tested = BTreeSet::new();
    for file in fs::read_dir(crate_root.join("tests/vault")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for test in text.split("async fn must_").skip(1) {
            tested.insert(test.split('_').next().unwrap().parse().unwrap_or(0));
        }
    }
    tested.remove(&0);
    assert!(numbered.len() >= 15);
    assert_eq!(numbered, tested);
}
