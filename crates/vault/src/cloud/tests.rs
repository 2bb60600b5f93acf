#![allow(
    clippy::unwrap_used,
    reason = "in a test a panic is how a fixture fails"
)]

use std::collections::BTreeMap;

use object_store::path::Path;

use crate::{VaultError, open_store};

const SECRET: &str = "geheim-0815";

/// Options as `name=value`, separated by spaces.
fn options(text: &str) -> BTreeMap<String, String> {
    let pairs = text
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn opened(url: &str, text: &str) -> (String, Path) {
    let (store, prefix) = open_store(url, &options(text)).unwrap();
    // Where it asks is in no other text of the store.
    let shown = format!("{store:?}");
    assert!(!shown.is_empty());
    (shown, prefix)
}

fn refused(url: &str, text: &str) -> String {
    match open_store(url, &options(text)) {
        Ok(_) => panic!("{url} with {text} was opened"),
        Err(error @ VaultError::Location { .. }) => {
            let said = error.to_string();
            assert!(!said.contains(SECRET), "{said}");
            said
        }
        Err(other) => panic!("{other:?}"),
    }
}

const KEYS: &str = "access_key_id=AK secret_access_key=geheim-0815";

#[test]
fn a_bucket_of_a_provider_is_reached_over_https_and_by_its_name() {
    let (shown, prefix) = opened(
        "s3://backups/teams/a%20b/",
        &format!("region=eu-west-1 {KEYS}"),
    );
    assert!(
        shown.contains("https://backups.s3.eu-west-1.amazonaws.com"),
        "{shown}"
    );
    assert_eq!(prefix, Path::from("teams/a b"));
    let (shown, prefix) = opened("s3://back.ups", &format!("region=eu-west-1 {KEYS}"));
    assert!(
        shown.contains("https://s3.eu-west-1.amazonaws.com/back.ups"),
        "{shown}"
    );
    assert_eq!(prefix, Path::default());
    let (shown, _) = opened(
        "az://backups/shop",
        "account=acme access_key=Z2VoZWltLTA4MTU=",
    );
    assert!(shown.contains("acme.blob.core.windows.net"), "{shown}");
}

#[test]
fn a_server_of_ones_own_has_the_bucket_in_the_path_or_in_its_name() {
    for (more, asked) in [
        (
            "endpoint=https://s3.example.net/",
            "https://s3.example.net/backups",
        ),
        (
            "endpoint=https://s3.example.net:9000 path_style=false",
            "https://backups.s3.example.net:9000",
        ),
        (
            "endpoint=http://127.0.0.1:9000",
            "http://127.0.0.1:9000/backups",
        ),
        (
            "endpoint=http://localhost:9000",
            "http://localhost:9000/backups",
        ),
        (
            "endpoint=http://[::1]:9000 session_token=x",
            "http://[::1]:9000/backups",
        ),
    ] {
        let (shown, _) = opened("s3://backups/shop", &format!("{more} {KEYS}"));
        assert!(shown.contains(asked), "{asked}: {shown}");
    }
    let said = refused(
        "s3://b",
        &format!("endpoint=http://127.0.0.1:9000 path_style=false {KEYS}"),
    );
    assert!(said.contains("path_style"), "{said}");
}

#[test]
fn plain_http_is_for_this_machine_only() {
    for endpoint in [
        "http://s3.example.net",
        "http://10.0.0.1:9000",
        "http://localhost.example.net",
        "http://128.0.0.1",
        "http://[::2]",
    ] {
        for (url, keys) in [
            ("s3://b", KEYS),
            ("az://c", "account=a access_key=Z2VoZWltLTA4MTU="),
        ] {
            let said = refused(url, &format!("endpoint={endpoint} {keys}"));
            assert!(said.contains("must be https"), "{endpoint}: {said}");
        }
    }
    assert!(refused("s3://b", &format!("endpoint=ftp://x {KEYS}")).contains("https://"));
    assert!(refused("s3://b", &format!("endpoint=s3.example.net {KEYS}")).contains("URL"));
    let within = format!("endpoint=https://u:geheim-0815@x {KEYS}");
    assert!(refused("s3://b", &within).contains("password"));
}

#[test]
fn who_signs_is_said_and_said_once() {
    assert!(refused("s3://b", "region=x").contains("credentials = server"));
    assert!(refused("s3://b", "region=x access_key_id=AK").contains("secret_access_key"));
    assert!(refused("s3://b", "region=x secret_access_key=geheim-0815").contains("access_key_id"));
    let both = format!("credentials=server region=x {KEYS}");
    assert!(refused("s3://b", &both).contains("exclude"));
    assert!(refused("s3://b", "credentials=me region=x").contains("only be server"));
    opened("s3://b", "credentials=server region=x");
    assert!(refused("az://c", "account=a").contains("credentials = server"));
    assert!(refused("az://c", "access_key=eA==").contains("account"));
    let two = "account=a access_key=eA== sas_token=sig=geheim-0815";
    assert!(refused("az://c", two).contains("only one of"));
    assert!(refused("az://c", "account=a client_secret=geheim-0815").contains("client_id"));
    assert!(refused("gs://b", "").contains("service_account_key"));
    assert!(refused("gs://b", "service_account_key=geheim-0815").contains("client_email"));
}

#[test]
fn what_is_wrong_with_a_url_or_an_option_is_named() {
    assert!(refused("s3:///shop", KEYS).contains("bucket"));
    assert!(refused("s3://AK:geheim-0815@b", KEYS).contains("option"));
    assert!(refused("s3://b:80/x", KEYS).contains("endpoint"));
    assert!(refused("s3://b/x?region=y", KEYS).contains("?"));
    assert!(refused("s3://b/x//y", &format!("region=x {KEYS}")).contains("path"));
    assert!(refused("s3://b", KEYS).contains("region"));
    assert!(refused("s3://b", &format!("regoin=x {KEYS}")).contains("\"regoin\""));
    assert!(refused("gs://b", KEYS).contains("\"access_key_id\""));
    let said = refused("s3://b", &format!("region=x path_style=yes {KEYS}"));
    assert!(said.contains("path_style"), "{said}");
}
