//! A saveset in memory: read by the reading half, or made by hand with pg_dump and COPY, so that
//! the restoring half is tested apart too.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use model::{
    BlockRange, ClosingFacts, DatabaseSelection, DictionaryReader, LoadTask, ObjectName, Outcome,
    Progress, RestoreRequest, RestoreTable, RowFormat, RowStream, SiteType, TablePlan,
};
use serde_json::{Value, json};
use testkit::postgres::{SUPERUSER, Server};
use tokio_postgres::Client;

use crate::reading::Reading;

/// A saveset: its dictionary, and the rows of each table in ranges.
pub struct Saved {
    pub parts: Arc<Parts>,
    pub tables: Vec<RestoreTable>,
    pub ranges: Vec<(LoadTask, Vec<u8>)>,
    pub facts: ClosingFacts,
}

/// The parts of a dictionary.
#[derive(Default)]
pub struct Parts(pub Mutex<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl DictionaryReader for Parts {
    fn parts(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    async fn write_to(&self, part: &str, sink: &mut (dyn Write + Send)) -> Outcome<bool> {
        let parts = self.0.lock().unwrap();
        let Some(bytes) = parts.get(part) else {
            return Ok(false);
        };
        sink.write_all(bytes).expect("the sink takes bytes");
        Ok(true)
    }
}

/// Rows in small pieces, so that rows span them.
pub struct Pieces(pub Vec<u8>, pub usize);

#[async_trait]
impl RowStream for Pieces {
    async fn next(&mut self) -> Outcome<Option<Bytes>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let rest = self.0.split_off(self.1.min(self.0.len()));
        let piece = std::mem::replace(&mut self.0, rest);
        Ok(Some(Bytes::from(piece)))
    }
}

/// A stream whose next piece never comes.
pub struct Stuck;

#[async_trait]
impl RowStream for Stuck {
    async fn next(&mut self) -> Outcome<Option<Bytes>> {
        std::future::pending().await
    }
}

impl Saved {
    /// Changes what is said about the database.
    pub fn change_facts(&self, change: impl FnOnce(&mut Value)) {
        let mut parts = self.parts.0.lock().unwrap();
        let bytes = parts.get_mut("database.json").expect("it was saved");
        let mut facts = serde_json::from_slice(bytes).expect("it is JSON");
        change(&mut facts);
        *bytes = facts.to_string().into_bytes();
    }

    /// A request for this saveset under a name.
    pub fn request(&self, name: &str, progress: Arc<dyn Progress>) -> RestoreRequest {
        RestoreRequest {
            source_type: SiteType::Postgresql,
            selection: DatabaseSelection::whole(ObjectName::one("shop")),
            saved: DatabaseSelection::whole(ObjectName::one("shop")),
            target_database: ObjectName::one(name),
            as_copy: false,
            replace_existing: false,
            skip_statistics: false,
            skip_indexes: false,
            streams: 2,
            server_execution_id: "12.1".parse().expect("it is an id"),
            earlier: Vec::new(),
            tables: self.tables.clone(),
            objects: Vec::new(),
            facts: self.facts.clone(),
            dictionary: Arc::clone(&self.parts) as Arc<dyn DictionaryReader>,
            progress,
        }
    }

    /// Reads a database with the reading half, as the role that backs up, with two streams.
    pub async fn by_source(server: &Server, database: &str) -> Saved {
        Saved::read(&Reading::new(server, database)).await
    }

    /// As [`by_source`](Saved::by_source), as a superuser, who sees the options of user mappings.
    pub async fn by_superuser(server: &Server, database: &str) -> Saved {
        let mut reading = Reading::new(server, database);
        reading.user = SUPERUSER;
        Saved::read(&reading).await
    }

    /// What that reading reads.
    pub async fn read(reading: &Reading<'_>) -> Saved {
        let backup = reading.read().await.unwrap();
        let mut tables: Vec<RestoreTable> = backup
            .plan
            .tables
            .iter()
            .cloned()
            .map(|plan| RestoreTable {
                plan,
                rows: 0,
                bytes: 0,
            })
            .collect();
        let ranges = backup
            .segments
            .iter()
            .map(|segment| {
                let entry = &mut tables[segment.task.table];
                let task = LoadTask {
                    table: segment.task.table,
                    blocks: segment.task.blocks,
                    bytes: segment.rows.len() as u64,
                    rows: segment.index.rows(),
                };
                entry.rows += task.rows;
                entry.bytes += task.bytes;
                (task, segment.rows.clone())
            })
            .collect();
        Saved {
            parts: Arc::new(Parts(Mutex::new(backup.parts))),
            tables,
            ranges,
            facts: backup.facts,
        }
    }

    /// Reads a database by hand, as the superuser, while nobody writes.
    pub async fn by_hand(server: &Server, database: &str) -> Saved {
        let client = server.connect(database).await;
        let dump = server
            .tool("pg_dump", database)
            .args(["--format=custom", "--schema-only"])
            .output()
            .expect("pg_dump can be run");
        assert!(dump.status.success(), "{dump:?}");
        let mut parts = BTreeMap::new();
        parts.insert("schema.dump".to_owned(), dump.stdout);
        let facts = database_facts(&client, server).await;
        parts.insert("database.json".to_owned(), facts.to_string().into_bytes());
        parts.insert("sequences.jsonl".into(), sequences(&client).await);
        parts.insert("large_objects.jsonl".into(), large_objects(&client).await);
        let mut saved = Saved {
            parts: Arc::new(Parts(Mutex::new(parts))),
            tables: Vec::new(),
            ranges: Vec::new(),
            facts: ClosingFacts(Value::Null),
        };
        saved.read_tables(&client).await;
        saved.read_large_objects(&client).await;
        saved
    }

    async fn read_tables(&mut self, client: &Client) {
        let sql = "SELECT n.nspname, c.relname,
                (SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}')
                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
                   AND NOT a.attisdropped AND a.attgenerated = ''),
                EXISTS (SELECT FROM pg_inherits i JOIN pg_partitioned_table p ON p.partrelid = i.inhparent
                        WHERE i.inhrelid = c.oid AND p.partstrat = 'h'),
                (SELECT relname::text FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid
                 WHERE i.inhrelid = c.oid AND p.relkind = 'p'),
                EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
                        AND a.atttypid IN ('citext'::regtype, 'hstore'::regtype, 'regclass'::regtype))
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND c.oid >= 16384 AND n.nspname <> 'pg_toast'";
        let sql = match has_type(client, "citext").await {
            true => sql.to_owned(),
            false => sql.replace("'citext'::regtype, 'hstore'::regtype, ", ""),
        };
        for row in client.query(&sql, &[]).await.unwrap() {
            let (schema, name): (String, String) = (row.get(0), row.get(1));
            let columns: Vec<String> = row.get(2);
            let through = match (row.get::<_, bool>(3), row.get::<_, Option<String>>(4)) {
                (true, Some(root)) => json!({"schema": schema, "name": root}),
                _ => Value::Null,
            };
            let format = match row.get(5) {
                true => RowFormat::Text,
                false => RowFormat::Binary,
            };
            let facts = json!({
                "version": 1, "kind": "rows", "schema": schema, "name": name,
                "columns": columns, "encoding": encoding(client).await, "load_through": through,
            });
            let quoted: Vec<String> = columns
                .iter()
                .map(|c| format!("\"{}\"", c.replace('"', "\"\"")))
                .collect();
            let query = |condition: &str| {
                format!(
                    "SELECT {} FROM ONLY \"{}\".\"{}\" WHERE {condition}",
                    quoted.join(", "),
                    schema.replace('"', "\"\""),
                    name.replace('"', "\"\"")
                )
            };
            // Two ranges, so that two streams load one table.
            let ranges = [
                (
                    BlockRange {
                        start: 0,
                        end: Some(2),
                    },
                    query("ctid < '(2,0)'"),
                ),
                (
                    BlockRange {
                        start: 2,
                        end: None,
                    },
                    query("ctid >= '(2,0)'"),
                ),
            ];
            let plan = plan(ObjectName::two(&schema, &name), format, facts);
            self.add(client, plan, &ranges).await;
        }
    }

    async fn read_large_objects(&mut self, client: &Client) {
        let facts = json!({
            "version": 1, "kind": "large_objects", "schema": "pg_catalog", "name": "pg_largeobject",
            "columns": ["loid", "pageno", "data"], "encoding": "UTF8",
        });
        let name = ObjectName::two("pg_catalog", "pg_largeobject");
        let query = "SELECT loid, pageno, data FROM pg_catalog.pg_largeobject".to_owned();
        let plan = plan(name, RowFormat::Binary, facts);
        self.add(client, plan, &[(BlockRange::ALL, query)]).await;
    }

    async fn add(&mut self, client: &Client, plan: TablePlan, ranges: &[(BlockRange, String)]) {
        let table = self.tables.len();
        let mut entry = RestoreTable {
            plan,
            rows: 0,
            bytes: 0,
        };
        for (blocks, query) in ranges {
            let (bytes, rows) = copy_out(client, query, entry.plan.format).await;
            entry.rows += rows;
            entry.bytes += bytes.len() as u64;
            let task = LoadTask {
                table,
                blocks: *blocks,
                bytes: bytes.len() as u64,
                rows,
            };
            self.ranges.push((task, bytes));
        }
        self.tables.push(entry);
    }
}

fn plan(name: ObjectName, format: RowFormat, facts: Value) -> TablePlan {
    TablePlan {
        name,
        format,
        shape: String::new(),
        facts,
    }
}

async fn encoding(client: &Client) -> String {
    let row = client
        .query_one("SELECT current_setting('server_encoding')", &[])
        .await;
    row.unwrap().get(0)
}

async fn has_type(client: &Client, name: &str) -> bool {
    let row = client
        .query_one("SELECT to_regtype($1) IS NOT NULL", &[&name])
        .await;
    row.unwrap().get(0)
}

async fn copy_out(client: &Client, query: &str, format: RowFormat) -> (Vec<u8>, u64) {
    let rows = client
        .query_one(&format!("SELECT count(*) FROM ({query}) AS q"), &[])
        .await;
    let rows: i64 = rows.unwrap().get(0);
    let encoding = encoding(client).await;
    client
        .batch_execute(&format!(
            "SET client_encoding = '{encoding}'; SET search_path = ''"
        ))
        .await
        .unwrap();
    let word = if format == RowFormat::Binary {
        "binary"
    } else {
        "text"
    };
    let stream = client
        .copy_out(&format!("COPY ({query}) TO STDOUT (FORMAT {word})"))
        .await
        .unwrap();
    let bytes: Vec<Bytes> = stream.try_collect().await.unwrap();
    client
        .batch_execute("SET client_encoding = 'UTF8'; RESET search_path")
        .await
        .unwrap();
    let mut bytes = bytes.concat();
    if format == RowFormat::Binary {
        bytes.drain(..19);
        bytes.truncate(bytes.len() - 2);
    }
    (bytes, rows.unsigned_abs())
}

async fn lines(client: &Client, sql: &str) -> Vec<u8> {
    let rows = client.query(sql, &[]).await.unwrap();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| row.get::<_, String>(0) + "\n")
        .collect();
    lines.concat().into_bytes()
}

async fn sequences(client: &Client) -> Vec<u8> {
    let names = "SELECT format('%I.%I', n.nspname, c.relname), n.nspname, c.relname
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'";
    let mut all = Vec::new();
    for row in client.query(names, &[]).await.unwrap() {
        let (quoted, schema, name): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let value = client
            .query_one(&format!("SELECT last_value, is_called FROM {quoted}"), &[])
            .await
            .unwrap();
        let line = json!({"schema": schema, "name": name, "last_value": value.get::<_, i64>(0), "is_called": value.get::<_, bool>(1)});
        all.extend(format!("{line}\n").into_bytes());
    }
    all
}

async fn large_objects(client: &Client) -> Vec<u8> {
    let sql = "SELECT json_build_object('oid', m.oid::bigint, 'owner', m.lomowner::regrole::text,
            'comment', obj_description(m.oid, 'pg_largeobject'),
            'grants', (SELECT json_agg(json_build_object('grantor', pg_get_userbyid(a.grantor),
                'grantee', CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
                'privilege', a.privilege_type, 'grantable', a.is_grantable))
                FROM aclexplode(m.lomacl) a))::text
        FROM pg_largeobject_metadata m ORDER BY m.oid";
    let text = String::from_utf8(lines(client, sql).await).unwrap();
    // regrole quotes where it must.
    text.replace("\\\"the owner\\\"", "the owner").into_bytes()
}

async fn names(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn database_facts(client: &Client, server: &Server) -> Value {
    let sql = "SELECT json_build_object('db', to_jsonb(d), 'encoding', pg_encoding_to_char(d.encoding),
            'owner', pg_get_userbyid(d.datdba), 'comment', shobj_description(d.oid, 'pg_database'),
            'version', current_setting('server_version_num')::int,
            'grants', (SELECT json_agg(json_build_object('grantor', pg_get_userbyid(a.grantor),
                'grantee', CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
                'privilege', a.privilege_type, 'grantable', a.is_grantable)) FROM aclexplode(d.datacl) a),
            'settings', (SELECT json_agg(json_build_object('role', CASE s.setrole WHEN 0 THEN NULL ELSE pg_get_userbyid(s.setrole) END,
                'parameter', split_part(c, '=', 1), 'value', substr(c, strpos(c, '=') + 1)))
                FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setdatabase = d.oid))::text
        FROM pg_database d WHERE datname = current_database()";
    let text: String = client.query_one(sql, &[]).await.unwrap().get(0);
    let all: Value = serde_json::from_str(&text).unwrap();
    let db = &all["db"];
    let extensions: Vec<Value> = client
        .query(include_str!("../../../sql/needed_extensions_14.sql"), &[])
        .await
        .unwrap()
        .iter()
        .map(|row| json!({"name": row.get::<_, String>(0), "version": row.get::<_, String>(1)}))
        .collect();
    let views: Vec<Value> = client
        .query(include_str!("../../../sql/unfilled_views_14.sql"), &[])
        .await
        .unwrap()
        .iter()
        .map(|row| json!({"schema": row.get::<_, String>(0), "name": row.get::<_, String>(1)}))
        .collect();
    let locale = [&db["datlocale"], &db["daticulocale"]]
        .into_iter()
        .find(|v| v.is_string());
    json!({
        "version": 1, "name": db["datname"], "server_version_num": all["version"],
        "server_version": server.major().to_string(), "dump_tool_major": server.major(),
        "dump_holds_statistics": false, "encoding": all["encoding"],
        "locale_provider": db.get("datlocprovider").cloned().unwrap_or(json!("c")),
        "lc_collate": db["datcollate"], "lc_ctype": db["datctype"], "locale": locale,
        "icu_rules": Value::Null, "collation_version": Value::Null, "owner": all["owner"],
        "tablespace": "pg_default", "comment": all["comment"], "connection_limit": -1,
        "is_template": false, "allow_connections": true, "grants": all["grants"],
        "settings": all["settings"].as_array().cloned().unwrap_or_default(),
        "needs": {
            "owners": names(client, include_str!("../../../sql/needed_owners_14.sql")).await,
            "grantees": names(client, include_str!("../../../sql/needed_grantees_14.sql")).await,
            "extensions": extensions,
            "tablespaces": names(client, include_str!("../../../sql/needed_tablespaces_14.sql")).await,
            "schemas": names(client, include_str!("../../../sql/user_schemas_14.sql")).await,
            "unfilled_views": views,
            "collations": names(client, include_str!("../../../sql/needed_collations_14.sql")).await,
            "public_schema_open": client
                .query_opt(include_str!("../../../sql/public_schema_open_14.sql"), &[])
                .await
                .unwrap()
                .map(|row| row.get::<_, bool>(0)),
            "block_size": 8192,
        },
    })
}
