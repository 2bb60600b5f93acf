//! Public databases, made by people who never thought of us.

use testkit::digest::{assert_equal, digest};
use testkit::postgres::{Server, sample};

use super::drive::{restore, restore_as_superuser};
use super::round_trip::{about_database, similar};
use super::saved::Saved;

/// Rows for the schema of MusicBrainz, which comes without; its triggers add more of them.
const SONGS: &str = "SET search_path = musicbrainz, public;
    INSERT INTO artist (gid, name, sort_name) SELECT gen_random_uuid(), 'Artist ' || i, i || ', Artist' FROM generate_series(1, 2000) AS i;
    INSERT INTO artist_credit (name, artist_count, gid) SELECT name, 1, gen_random_uuid() FROM artist;
    INSERT INTO artist_credit_name (artist_credit, position, artist, name)
        SELECT c.id, 0, a.id, a.name FROM artist_credit c JOIN artist a USING (name);
    INSERT INTO recording (gid, name, artist_credit, length)
        SELECT gen_random_uuid(), 'Song ' || i, c.id, 1000 + i FROM artist_credit c, generate_series(1, 4) AS i;
    INSERT INTO release_group (gid, name, artist_credit) SELECT gen_random_uuid(), 'Album of ' || name, id FROM artist_credit;
    INSERT INTO release (gid, name, artist_credit, release_group) SELECT gen_random_uuid(), name, artist_credit, id FROM release_group;
    INSERT INTO medium (release, position, gid) SELECT id, 1, gen_random_uuid() FROM release;";

async fn compare(server: &Server, copy: &str, tables: &str) {
    let count = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND oid >= 16384";
    assert_eq!(server.psql(copy, count), tables);
    let expected = digest(&server.connect("shop").await).await.unwrap();
    let found = digest(&server.connect(copy).await).await.unwrap();
    assert_equal(&expected, &found);
    // PostgreSQL prints some expressions otherwise once they were dumped and read again.
    let user = server.psql(
        copy,
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()",
    );
    server.psql(
        "postgres",
        &format!("CREATE DATABASE reference OWNER {user}"),
    );
    server.psql("reference", &server.dump_schema("shop"));
    similar(&server.dump_schema("reference"), &server.dump_schema(copy));
    assert_eq!(about_database(server, "shop"), about_database(server, copy));
}

#[tokio::test(flavor = "multi_thread")]
async fn musicbrainz_comes_back() {
    let server = Server::version(17)
        .setting("max_locks_per_transaction", "256")
        .start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", &sample("musicbrainz"));
    server.psql("shop", SONGS);
    let saved = Saved::by_source(&server, "shop").await;
    // One of its functions is written in C.
    let restored = restore_as_superuser(&server, &saved, "copy").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (Vec::new(), Vec::new())
    );
    compare(&server, "copy", "373").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zabbix_comes_back_with_least_rights() {
    let server = Server::version(18)
        .setting("max_locks_per_transaction", "256")
        .start();
    let roles = server.least_rights_role();
    server.psql(
        "postgres",
        &format!(
            "CREATE ROLE zabbix; GRANT zabbix TO {}; CREATE DATABASE shop OWNER zabbix",
            roles.restore
        ),
    );
    server.psql("shop", &format!("SET ROLE zabbix;\n{}", sample("zabbix")));
    let saved = Saved::by_source(&server, "shop").await;
    let restored = restore(&server, &saved, |_| (), "copy").await.unwrap();
    assert_eq!(
        (restored.errors, restored.progress.warnings()),
        (Vec::new(), Vec::new())
    );
    compare(&server, "copy", "173").await;
}
