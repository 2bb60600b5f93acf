//! Every encoding that a database can have: names and rows that are not ASCII, there and back.

use model::{Engine, Retry};
use testkit::postgres::Server;

use crate::reading::Reading;

use super::drive::restore;
use super::round_trip::similar;
use super::saved::Saved;

/// Each with a word that it can write; `SQL_ASCII` takes any bytes, here those of UTF-8.
const ENCODINGS: &[(&str, &str)] = &[
    ("UTF8", "größe 名前 🦀"),
    ("SQL_ASCII", "größe"),
    ("LATIN1", "größe"),
    ("LATIN2", "łódź"),
    ("LATIN3", "ĝis"),
    ("LATIN4", "ķēniņš"),
    ("LATIN5", "ışık"),
    ("LATIN6", "þing"),
    ("LATIN7", "žąsis"),
    ("LATIN8", "ŵyth"),
    ("LATIN9", "cœur€"),
    ("LATIN10", "școală"),
    ("ISO_8859_5", "заказ"),
    ("ISO_8859_6", "طلب"),
    ("ISO_8859_7", "σειρά"),
    ("ISO_8859_8", "הזמנה"),
    ("WIN866", "заказ"),
    ("WIN874", "คำสั่ง"),
    ("WIN1250", "łódź"),
    ("WIN1251", "заказ"),
    ("WIN1252", "größe€"),
    ("WIN1253", "σειρά"),
    ("WIN1254", "ışık"),
    ("WIN1255", "הזמנה"),
    ("WIN1256", "طلب"),
    ("WIN1257", "žąsis"),
    ("WIN1258", "đơn"),
    ("KOI8R", "заказ"),
    ("KOI8U", "їжак"),
    ("EUC_JP", "注文表"),
    ("EUC_JIS_2004", "注文表"),
    ("EUC_CN", "订单"),
    ("EUC_KR", "주문"),
    ("EUC_TW", "訂單"),
];

/// Single-byte encodings also hold all that they have a code for, whether Unicode knows it or not.
const EVERY_CODE: &str = "SELECT i, chr(i) FROM generate_series(128, 255) AS i";

fn is_of_many_bytes(encoding: &str) -> bool {
    encoding == "UTF8" || encoding.starts_with("EUC")
}

/// A name with all that makes a name hard, and a word of the encoding.
fn hard(word: &str) -> String {
    format!("{word} a.b \"\"c\"\" \\ 'd' \n e")
}

fn fill(server: &Server, encoding: &str, word: &str) {
    server.psql(
        "postgres",
        &format!(
            "CREATE DATABASE shop OWNER app TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        ),
    );
    let codes = match is_of_many_bytes(encoding) {
        true => "SELECT 1, 'x'",
        false => EVERY_CODE,
    };
    let hard = hard(word);
    server.psql(
        "shop",
        &format!(
            "SET client_encoding = 'UTF8'; SET ROLE app; CREATE SCHEMA \"{word}\";
             CREATE TYPE \"{word}\".\"{word} kind\" AS ENUM ('{word}', 'x');
             CREATE TABLE \"{word}\".\"{hard}\" (\"{hard} nr\" serial PRIMARY KEY, \"{word}\" text DEFAULT '{word}',
                kind \"{word}\".\"{word} kind\", CONSTRAINT \"{word} check\" CHECK (\"{word}\" <> '{word}x'));
             INSERT INTO \"{word}\".\"{hard}\" (\"{word}\", kind) SELECT '{word} ' || i, '{word}' FROM generate_series(1, 100) AS i;
             CREATE TABLE \"{word}\".\"{word} text\" (\"{word}\" money, b \"{word}\".\"{word} kind\", c text);
             INSERT INTO \"{word}\".\"{word} text\" VALUES ('1.50', '{word}', '{word}\t\n\\{word}');
             CREATE TABLE \"{word}\".codes (i int, c text); INSERT INTO \"{word}\".codes {codes};
             CREATE VIEW \"{word}\".\"{word} view\" AS SELECT * FROM \"{word}\".\"{hard}\";
             COMMENT ON TABLE \"{word}\".\"{hard}\" IS '{word}'"
        ),
    );
}

/// Rows as the server keeps them: no conversion is in between.
fn rows(server: &Server, database: &str, word: &str) -> String {
    let hard = hard(word);
    server.psql(
        database,
        &format!(
            "SET client_encoding = 'UTF8';
             SELECT count(*), md5(string_agg(t::text, ';' ORDER BY \"{hard} nr\")) FROM \"{word}\".\"{hard}\" AS t;
             SELECT count(*), md5(string_agg(t::text, ';')) FROM \"{word}\".\"{word} text\" AS t;
             SELECT count(*), md5(string_agg(t::text, ';' ORDER BY i)) FROM \"{word}\".codes AS t;
             SELECT max(last_value) FROM pg_sequences"
        ),
    )
}

#[test]
fn every_encoding_of_a_server_is_tried_here() {
    let server = Server::version(17).start();
    let known = "SELECT string_agg(pg_encoding_to_char(e), ' ' ORDER BY 1)
        FROM generate_series(0, 34) AS e WHERE pg_encoding_to_char(e) <> ''";
    let known = server.psql("postgres", known);
    let tried = |name: &str| ENCODINGS.iter().any(|(encoding, _)| *encoding == name);
    let missed: Vec<&str> = known.split(' ').filter(|name| !tried(name)).collect();
    // The one that cannot be converted to UTF-8 has a test of its own.
    assert_eq!(missed, ["MULE_INTERNAL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_rows_of_the_first_encodings_come_back_as_they_were() {
    there_and_back(&ENCODINGS[..12]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_rows_of_the_next_encodings_come_back_as_they_were() {
    there_and_back(&ENCODINGS[12..24]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_rows_of_the_last_encodings_come_back_as_they_were() {
    there_and_back(&ENCODINGS[24..]).await;
}

async fn there_and_back(encodings: &[(&str, &str)]) {
    let server = Server::version(17).start();
    server.least_rights_role();
    server.psql("postgres", "CREATE ROLE app; GRANT app TO backstay_restore");
    for (encoding, word) in encodings {
        fill(&server, encoding, word);
        let saved = Saved::by_source(&server, "shop").await;
        let restored = restore(&server, &saved, |_| (), "copy").await;
        let restored = restored.unwrap_or_else(|e| panic!("{encoding}: {e}"));
        assert_eq!(
            (restored.errors, restored.progress.warnings()),
            (Vec::new(), Vec::new()),
            "{encoding}"
        );
        let expected = rows(&server, "shop", word);
        assert_eq!(expected, rows(&server, "copy", word), "{encoding}");
        let codes = if is_of_many_bytes(encoding) {
            "1|"
        } else {
            "128|"
        };
        assert!(
            expected.contains("100|") && expected.contains(codes),
            "{encoding}: {expected}"
        );
        similar(&server.dump_schema("shop"), &server.dump_schema("copy"));
        assert_eq!(server.psql("copy", "SHOW server_encoding"), *encoding);
        server.psql("postgres", "DROP DATABASE shop; ");
        server.psql("postgres", "DROP DATABASE copy; ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_converted_to_utf_8_is_refused_in_words() {
    let server = Server::version(17).start();
    for (name, encoding) in [("mule", "MULE_INTERNAL"), ("bytes", "SQL_ASCII")] {
        server.psql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"),
        );
        let make = "DO $$ BEGIN EXECUTE E'CREATE TABLE \"gr\\xf6sse\" (a int)'; END $$";
        if encoding == "SQL_ASCII" {
            server.psql(name, make);
        }
        let error = Reading::new(&server, name).open().await;
        let error = error.err().expect("names cannot be read");
        assert_eq!(
            (error.code(), error.retry()),
            ("names-not-utf8", Retry::Never)
        );
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("rename what has other bytes"), "{hint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_name_was_given_in_another_encoding_stops_nobody() {
    let server = Server::version(17).start();
    server.least_rights_role();
    server.psql(
        "postgres",
        "CREATE DATABASE old TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'",
    );
    server.psql(
        "old",
        "SET client_encoding = 'UTF8'; CREATE DATABASE \"größe\" TEMPLATE template0; ",
    );
    let connection = crate::reading::connection(&server, "backstay");
    let databases = crate::reading::engine(&server)
        .browse(&connection, &model::Parent::Root)
        .await
        .unwrap();
    let names: Vec<&str> = databases.iter().map(|d| d.name.last()).collect();
    assert_eq!(names, ["gr\u{fffd}\u{fffd}e", "old", "postgres"]);
}
