//! What was saved is there again: rows, DDL, rights, what belongs to the database.

use testkit::digest::{Digest, assert_equal, digest};
use testkit::postgres::Server;

use super::drive::restore;
use super::saved::Saved;

pub const ROLES: &str = "CREATE ROLE \"the owner\"; CREATE ROLE reader; CREATE ROLE clerk;
    GRANT \"the owner\", clerk TO backstay_restore;";

/// A server with the roles and the database that has everything.
pub fn server_with_shop(version: u32) -> Server {
    let server = Server::version(version).start();
    server.least_rights_role();
    server.psql("postgres", ROLES);
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", include_str!("everything.sql"));
    server.psql("shop", include_str!("more_of_everything.sql"));
    server
}

/// What pg_dump does not say of a database.
pub fn about_database(server: &Server, name: &str) -> String {
    let sql = "SELECT pg_get_userbyid(datdba), datcollate, datctype, pg_encoding_to_char(encoding),
            datconnlimit, datistemplate, shobj_description(oid, 'pg_database'),
            (SELECT array_agg(g ORDER BY g) FROM (SELECT format('%s %s %s %s', a.grantor::regrole,
                NULLIF(a.grantee, 0)::regrole, a.privilege_type, a.is_grantable) AS g FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a) g),
            (SELECT array_agg(setrole::regrole || ' ' || c ORDER BY setrole::regrole::text, c)
             FROM pg_db_role_setting, unnest(setconfig) c WHERE setdatabase = d.oid),
            (SELECT array_agg(format('%s %s %s %s', oid, lomowner::regrole, lomacl, obj_description(oid, 'pg_largeobject')) ORDER BY oid)
             FROM pg_largeobject_metadata)
        FROM pg_database d WHERE datname = current_database()";
    server.psql(name, sql)
}

/// The digest. Partitions by the hash of an enum are taken together: labels have other OIDs in
/// another database, and rows lie in other partitions.
pub async fn rows_of(server: &Server, name: &str) -> Digest {
    let mut all = digest(&server.connect(name).await).await.unwrap();
    all.retain(|table, _| !table.starts_with("table app.by_mood_"));
    let sql = "SELECT array_agg(format('%s %s', mood, n) ORDER BY n) FROM app.by_mood";
    all.insert("table app.by_mood".into(), server.psql(name, sql));
    all
}

/// Equal texts, or the first line that is not.
#[track_caller]
pub fn similar(expected: &str, found: &str) {
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(expected, found);
    }
    assert_eq!(expected.lines().count(), found.lines().count());
}

async fn a_round_trip(version: u32) {
    let server = server_with_shop(version);
    let before = rows_of(&server, "shop").await;
    let saved = Saved::by_source(&server, "shop").await;
    let restored = restore(&server, &saved, |_| (), "the copy").await.unwrap();
    assert_eq!(restored.errors, Vec::<String>::new());
    assert_eq!(restored.progress.warnings(), Vec::<String>::new());
    assert_eq!(restored.published.kept, None);
    let after = rows_of(&server, "the copy").await;
    assert_equal(&before, &after);
    similar(&server.dump_schema("shop"), &server.dump_schema("the copy"));
    assert_eq!(
        about_database(&server, "shop"),
        about_database(&server, "the copy")
    );
    let working = "SELECT count(*) FROM pg_database WHERE datname LIKE 'backstay%'";
    assert_eq!(server.psql("postgres", working), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_on_14() {
    a_round_trip(14).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_on_15() {
    a_round_trip(15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_on_16() {
    a_round_trip(16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_on_17() {
    a_round_trip(17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_on_18() {
    a_round_trip(18).await;
}
