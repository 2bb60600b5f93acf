-- The rest of what a role without special rights can own; run after everything.sql, in the same
-- database, by a superuser. Conditions of psql say which version brought a kind.
SELECT current_setting('server_version_num')::int >= 150000 AS v15,
       current_setting('server_version_num')::int >= 160000 AS v16,
       current_setting('server_version_num')::int >= 170000 AS v17,
       current_setting('server_version_num')::int >= 180000 AS v18 \gset
-- Names may hold everything: the client says in which encoding.
SET client_encoding = 'UTF8';
CREATE EXTENSION pg_trgm SCHEMA public;
CREATE EXTENSION ltree SCHEMA public;
COMMENT ON EXTENSION ltree IS 'trees';
ALTER DATABASE shop SET DateStyle = 'German, DMY';
SET ROLE "the owner";
SET search_path = '';
CREATE SCHEMA more;
GRANT USAGE ON SCHEMA more TO PUBLIC;

-- Every type that PostgreSQL brings, with its odd values.
CREATE TABLE more.types (
    id int PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(12, 3), m money,
    t text, v varchar(7), c char(5), n1 name, ch "char", by bytea, d date, ti time(3), tz time with time zone,
    ts timestamp(2), tstz timestamptz, iv interval, iv2 interval day to second(1), u uuid, j json, jb jsonb,
    jp jsonpath, bi bit(5), vb bit varying, ine inet, ci cidr, ma macaddr, m8 macaddr8, p point, l line, ls lseg,
    bx box, pa path, po polygon, ce circle, tv tsvector, tq tsquery, i4r int4range, i8r int8range, nr numrange,
    dr daterange, tr tsrange, tzr tstzrange, i4m int4multirange, nm nummultirange, dm datemultirange,
    lsn pg_lsn, snap pg_snapshot, x8 xid8, ty regtype, op regoperator, pr regprocedure, ro regrole, na regnamespace,
    co regcollation, cf regconfig, di regdictionary, xi xid, ci2 cid, tid tid, ia int[], ta text[][], ov oidvector,
    i2v int2vector, tree public.ltree
);
INSERT INTO more.types (id) VALUES (0);
INSERT INTO more.types (id, b, i2, i8, f4, f8, n, n2, m, t, v, c, n1, ch, by, d, ti, tz, ts, tstz, iv, iv2, u, j, jb,
    jp, bi, vb, ine, ci, ma, m8, p, l, ls, bx, pa, po, ce, tv, tq, i4r, i8r, nr, dr, tr, tzr, i4m, nm, dm, lsn, snap,
    x8, ty, op, pr, ro, na, co, cf, di, xi, ci2, tid, ia, ta, ov, i2v, tree)
VALUES (1, true, -32768, 9223372036854775807, 'NaN', '-Infinity', 'NaN', -123456789.125, '-92233720368547758.08',
    E'tab\t nl\n cr\r bs\\ \u00e4 \U0001F600 \x7f', 'seven77', 'ab', 'a name', 'x', '\x00ff5c', '4713-01-01 BC',
    '24:00', '23:59:59.999999+15:59', '294276-12-31 23:59:59.99', '-infinity',
    '-178000000 years 11 mons -3 days +04:05:06.789', '1 day 00:00:01.25', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    E'{ "a":1,\n "a" : "\\u00e9" }', '{"a": [1.50, null, {"b": "\u00e9"}]}', '$.a[*] ? (@ > 1 && @.b starts with "x")',
    B'10110', B'', '::ffff:1.2.3.4/97', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '(1e-300,-0)',
    '{1,-2,3}', '[(0,0),(1,1)]', '((3,4),(1,2))', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(1,2),3.5>',
    '''it''''s'':1A b:2,3C', '!a & (b | c:AB*) <-> d', 'empty', '[,5]', '(1.5,]', '[2026-01-01,infinity)',
    '["2026-01-01 00:00","2026-01-02 00:00")', '(,)', '{[1,3),[5,7)}', '{(,1.1),[2.2,)}', '{}', 'FFFFFFFF/FFFFFFFF',
    '10:20:10,14,15', '18446744073709551615', 'pg_catalog.timestamptz', 'pg_catalog.+(int4,int4)',
    'pg_catalog.sum(int4)', '"the owner"', 'more', 'pg_catalog."C"', 'pg_catalog.english', 'pg_catalog.simple',
    '4294967295', '4294967295', '(4294967295,65535)', '[-1:1]={1,NULL,3}', '{{"a,b",NULL},{"","\"q\\"}}', '1 2 3',
    '-1 0 1', 'Top.Science.Astronomy');
INSERT INTO more.types (id, f4, f8, n, d, ts, tstz, iv, by, t)
VALUES (2, 1.17549435e-38, 4.9e-324, 'Infinity', 'infinity', 'infinity', 'infinity', '0', '', ''),
       (3, 3.4028235e38, 1.7976931348623157e308, 1e1000, '5874897-12-31', '4714-11-24 00:00 BC', '294276-12-31 23:59:59.999999+00', '178000000 years', '\x', '\N'),
       (4, '-0', '-0', '-Infinity', '-infinity', '-infinity', NULL, NULL, NULL, '\.');

-- Types of one's own, from each other.
CREATE TYPE more.empty_enum AS ENUM ();
CREATE TYPE more.label AS ENUM ('b', 'a', 'it''s "c"');
ALTER TYPE more.label ADD VALUE 'before' BEFORE 'a';
COMMENT ON TYPE more.label IS 'labels';
CREATE TYPE more.pair AS (a int, gone text, b text COLLATE "C");
ALTER TYPE more.pair DROP ATTRIBUTE gone;
COMMENT ON COLUMN more.pair.b IS 'the second';
CREATE TYPE more.pairs AS (list more.pair[], l more.label);
CREATE DOMAIN more.code AS varchar(10) COLLATE "C" DEFAULT 'x' NOT NULL CONSTRAINT upper CHECK (VALUE = upper(VALUE));
COMMENT ON DOMAIN more.code IS 'a code';
COMMENT ON CONSTRAINT upper ON DOMAIN more.code IS 'no small letters';
CREATE DOMAIN more.short_code AS more.code CHECK (length(VALUE) < 4);
ALTER DOMAIN more.short_code ADD CONSTRAINT later CHECK (VALUE <> 'NO') NOT VALID;
CREATE DOMAIN more.pair_of AS more.pair CHECK ((VALUE).a > 0);
CREATE FUNCTION more.distance(x time, y time) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT extract(epoch FROM x - y)';
CREATE TYPE more.timerange AS RANGE (subtype = time, subtype_diff = more.distance, multirange_type_name = more.times);
CREATE TYPE more.textrange AS RANGE (subtype = text, collation = "C");
CREATE TABLE more.of_types (
    id int PRIMARY KEY, l more.label, ls more.label[], p more.pair, ps more.pairs, c more.code, s more.short_code,
    o more.pair_of, tr more.timerange, tm more.times, xr more.textrange, d public.citext, self more.types
);
INSERT INTO more.of_types SELECT i, (ARRAY['b', 'before', 'it''s "c"'])[1 + i % 3]::more.label, ARRAY['a', NULL]::more.label[],
    ROW(i, 'x,"y"')::more.pair, ROW(ARRAY[ROW(i, NULL)::more.pair], 'a')::more.pairs, 'C' || i, 'S', ROW(i, '')::more.pair_of,
    more.timerange('10:00', '11:00'), more.times(more.timerange('01:00', '02:00')), more.textrange('a', 'b"'), 'MiXed',
    CASE i % 2 WHEN 0 THEN (SELECT whole FROM more.types AS whole WHERE id = 1) END
FROM generate_series(1, 200) AS i;

-- Collations, conversions, casts, operators, text search.
CREATE COLLATION more.numeric_order (provider = icu, locale = 'en-u-kn');
CREATE COLLATION more.no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION more.posix (provider = libc, locale = 'C');
CREATE COLLATION more."copy of ""C""" FROM "C";
COMMENT ON COLLATION more.no_case IS 'any case';
\if :v16
CREATE COLLATION more.with_rules (provider = icu, locale = 'und', rules = '&a < z');
\endif
\if :v17
CREATE COLLATION more.built_in (provider = builtin, locale = 'C.UTF-8');
CREATE TABLE more.built (x text COLLATE more.built_in PRIMARY KEY);
INSERT INTO more.built VALUES ('z'), ('A');
\endif
CREATE TABLE more.sorted (x text COLLATE more.no_case PRIMARY KEY, y text COLLATE more.numeric_order);
CREATE INDEX ON more.sorted (y COLLATE "C" text_pattern_ops DESC NULLS LAST) INCLUDE (x);
INSERT INTO more.sorted SELECT 'X' || i, 'y' || i FROM generate_series(1, 100) AS i;
CREATE CONVERSION more.my_latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION more.my_latin IS 'a conversion';
CREATE FUNCTION more.to_int(more.pair) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT ($1).a';
CREATE CAST (more.pair AS int) WITH FUNCTION more.to_int(more.pair) AS ASSIGNMENT;
CREATE CAST (more.label AS int) WITH INOUT;
COMMENT ON CAST (more.pair AS int) IS 'a cast';
CREATE FUNCTION more.same(more.pair, more.pair) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT ($1).a = ($2).a';
CREATE FUNCTION more.other(more.pair, more.pair) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT ($1).a <> ($2).a';
CREATE OPERATOR more.=== (LEFTARG = more.pair, RIGHTARG = more.pair, FUNCTION = more.same, COMMUTATOR = OPERATOR(more.===),
    NEGATOR = OPERATOR(more.!==), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR more.!== (LEFTARG = more.pair, RIGHTARG = more.pair, FUNCTION = more.other, NEGATOR = OPERATOR(more.===));
COMMENT ON OPERATOR more.=== (more.pair, more.pair) IS 'alike';
CREATE FUNCTION more.minus(more.pair) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -($1).a';
CREATE OPERATOR more.!- (RIGHTARG = more.pair, FUNCTION = more.minus);
CREATE TEXT SEARCH DICTIONARY more.stems (TEMPLATE = snowball, Language = 'german', StopWords = 'german');
CREATE TEXT SEARCH DICTIONARY more.words (TEMPLATE = simple, Accept = false);
CREATE TEXT SEARCH CONFIGURATION more.german (COPY = pg_catalog.german);
ALTER TEXT SEARCH CONFIGURATION more.german ALTER MAPPING FOR asciiword, word WITH more.words, more.stems;
ALTER TEXT SEARCH CONFIGURATION more.german DROP MAPPING FOR url, email;
COMMENT ON TEXT SEARCH CONFIGURATION more.german IS 'ours';
COMMENT ON TEXT SEARCH DICTIONARY more.stems IS 'stems';

-- Functions in all forms.
CREATE FUNCTION more.many(INOUT a int, OUT b text, VARIADIC c text[] DEFAULT ARRAY['x']) LANGUAGE sql STABLE
    PARALLEL SAFE COST 7 SECURITY DEFINER SET search_path = more, pg_temp SET work_mem = '8MB' AS $body$ SELECT a, c[1] $body$;
CREATE FUNCTION more.several(n int) RETURNS TABLE (x int, y more.pair) LANGUAGE sql ROWS 5 STRICT BEGIN ATOMIC
    SELECT i, ROW(i, 'x')::more.pair FROM generate_series(1, n) AS i;
END;
CREATE FUNCTION more.any_of(anycompatible, anycompatiblearray) RETURNS anycompatible LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE PROCEDURE more.does(INOUT n int, OUT m int) LANGUAGE plpgsql AS $$ BEGIN m := n; END $$;
COMMENT ON PROCEDURE more.does IS 'does';
COMMENT ON FUNCTION more.many(int, text[]) IS 'many';
CREATE AGGREGATE more.product (numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1', COMBINEFUNC = numeric_mul, PARALLEL = SAFE);
CREATE AGGREGATE more.moving (float8) (SFUNC = float8pl, STYPE = float8, MSFUNC = float8pl, MINVFUNC = float8mi, MSTYPE = float8,
    MINITCOND = '0', INITCOND = '0', SSPACE = 8);
CREATE FUNCTION more.gather(text[], text) RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT array_append($1, $2)';
CREATE FUNCTION more.pick(text[], int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1[$2]';
CREATE AGGREGATE more.nth (int ORDER BY text) (SFUNC = more.gather, STYPE = text[], FINALFUNC = more.pick, INITCOND = '{}');
CREATE FUNCTION more.rank_of(text[], text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT array_position($1, $2)';
CREATE AGGREGATE more.place (text ORDER BY text) (SFUNC = more.gather, STYPE = text[], FINALFUNC = more.rank_of, INITCOND = '{}', HYPOTHETICAL);
CREATE AGGREGATE more.least_of (int) (SFUNC = int4smaller, STYPE = int, SORTOP = OPERATOR(pg_catalog.<));
COMMENT ON AGGREGATE more.product (numeric) IS 'all times all';

-- Identity, generated columns, sequences, storage, options.
CREATE SEQUENCE more.down AS smallint INCREMENT -2 MINVALUE -100 MAXVALUE 10 START 4 CACHE 5 CYCLE;
SELECT nextval('more.down'), nextval('more.down');
COMMENT ON SEQUENCE more.down IS 'down';
CREATE TABLE more.numbered (
    a int GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME more."its own" START 7 INCREMENT 3 CACHE 2),
    b smallserial, c int DEFAULT nextval('more.down'), d text GENERATED ALWAYS AS (b * 2 || ' times') STORED, UNIQUE (a)
) WITH (fillfactor = 70, autovacuum_enabled = false, toast_tuple_target = 256, parallel_workers = 1, toast.autovacuum_vacuum_cost_delay = 5);
INSERT INTO more.numbered (b) SELECT i FROM generate_series(1, 50) AS i;
ALTER SEQUENCE more.down OWNED BY more.numbered.c;
CREATE TABLE more.stored (id int, plain text, main text, ext text, pg text COMPRESSION pglz);
ALTER TABLE more.stored ALTER plain SET STORAGE PLAIN, ALTER main SET STORAGE MAIN, ALTER ext SET STORAGE EXTERNAL,
    ALTER id SET (n_distinct = -0.5, n_distinct_inherited = 7), ALTER main SET STATISTICS 0;
INSERT INTO more.stored SELECT i, repeat('p', 100), repeat('m', 3000), repeat(md5(i::text), 300), repeat('c', 9000) FROM generate_series(1, 30) AS i;
\if :v15
-- Of a server of 14, whose sequences are always logged, newer pg_dump says so in words that 14 does not know.
CREATE UNLOGGED TABLE more.scratch (id int GENERATED ALWAYS AS IDENTITY, x text);
INSERT INTO more.scratch (x) VALUES ('a'), ('b');
CREATE UNLOGGED SEQUENCE more.unlogged_seq;
\endif
\if :v18
CREATE TABLE more.virtual (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, c int GENERATED ALWAYS AS (a + 1));
INSERT INTO more.virtual SELECT generate_series(1, 20);
\endif
CREATE TABLE more.typed OF more.pair (a WITH OPTIONS PRIMARY KEY, b DEFAULT 'typed');
INSERT INTO more.typed SELECT i, 't' FROM generate_series(1, 200) AS i;
CREATE TABLE more.replica (id int NOT NULL, x int);
CREATE UNIQUE INDEX replica_by ON more.replica (id);
ALTER TABLE more.replica REPLICA IDENTITY USING INDEX replica_by;
ALTER TABLE more.stored REPLICA IDENTITY NOTHING;

-- Constraints of all kinds.
CREATE TABLE more.parent (
    id int, part int, period tstzrange, word text,
    CONSTRAINT parent_key PRIMARY KEY (id, part) INCLUDE (word) WITH (fillfactor = 90),
    CONSTRAINT word_once UNIQUE (word) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT positive CHECK (id > 0) NO INHERIT,
    CONSTRAINT no_overlap EXCLUDE USING gist (part WITH =, period WITH &&) WHERE (part > 5) DEFERRABLE
);
COMMENT ON CONSTRAINT positive ON more.parent IS 'above zero';
INSERT INTO more.parent SELECT i, i % 5, tstzrange('2026-01-01', '2026-02-01'), 'w' || i FROM generate_series(1, 100) AS i;
CREATE TABLE more.child (
    id int, part int, other int, word text, many int[],
    CONSTRAINT to_parent FOREIGN KEY (id, part) REFERENCES more.parent MATCH FULL ON UPDATE CASCADE ON DELETE CASCADE NOT DEFERRABLE
);
INSERT INTO more.child SELECT i, i % 5, i, 'w' || i, ARRAY[i] FROM generate_series(1, 100) AS i;
INSERT INTO more.child (other) VALUES (-1);
ALTER TABLE more.child ADD CONSTRAINT later CHECK (other > 0) NOT VALID;
ALTER TABLE more.child ADD CONSTRAINT unchecked FOREIGN KEY (other) REFERENCES more.typed ON DELETE SET DEFAULT NOT VALID;
CREATE UNIQUE INDEX child_other ON more.child (other);
ALTER TABLE more.child ADD CONSTRAINT other_once UNIQUE USING INDEX child_other;
ALTER TABLE more.child CLUSTER ON other_once;
\if :v15
ALTER TABLE more.child ADD CONSTRAINT part_only FOREIGN KEY (id, part) REFERENCES more.parent ON DELETE SET NULL (part);
CREATE TABLE more.nulls (x int, CONSTRAINT nulls_once UNIQUE NULLS NOT DISTINCT (x));
INSERT INTO more.nulls VALUES (NULL), (1);
CREATE UNIQUE INDEX nulls_again ON more.nulls (x) NULLS NOT DISTINCT;
\endif
\if :v18
ALTER TABLE more.child ADD CONSTRAINT not_enforced CHECK (other > 1000) NOT ENFORCED;
ALTER TABLE more.child ADD CONSTRAINT not_enforced_key FOREIGN KEY (other) REFERENCES more.typed NOT ENFORCED;
ALTER TABLE more.child ADD CONSTRAINT must_be NOT NULL word NOT VALID;
CREATE TABLE more.no_inherit (x int CONSTRAINT x_there NOT NULL NO INHERIT);
CREATE TABLE more.booking (id int, during daterange, CONSTRAINT booking_key PRIMARY KEY (id, during WITHOUT OVERLAPS));
CREATE TABLE more.stay (booking int, during daterange, guest int,
    UNIQUE (guest, during WITHOUT OVERLAPS),
    FOREIGN KEY (booking, PERIOD during) REFERENCES more.booking (id, PERIOD during));
INSERT INTO more.booking SELECT i, daterange('2026-01-01', '2026-02-01') FROM generate_series(1, 20) AS i;
INSERT INTO more.stay SELECT i, daterange('2026-01-05', '2026-01-09'), i FROM generate_series(1, 20) AS i;
\endif

-- Indexes of all kinds.
CREATE TABLE more.indexed (id int, t text, a int[], p point, r int4range, ine inet, v tsvector, at timestamptz);
INSERT INTO more.indexed SELECT i, 'word ' || i, ARRAY[i, i + 1], point(i, -i), int4range(i, i + 5), '10.0.0.0/24', to_tsvector('pg_catalog.english', 'word ' || i), TIMESTAMPTZ '2026-01-01' + i * INTERVAL '1 hour'
FROM generate_series(1, 2000) AS i;
CREATE INDEX by_hash ON more.indexed USING hash (t);
CREATE INDEX by_gin ON more.indexed USING gin (a, v) WITH (fastupdate = off);
CREATE INDEX by_trigrams ON more.indexed USING gin (t public.gin_trgm_ops);
CREATE INDEX by_gist ON more.indexed USING gist (p, r);
CREATE INDEX by_spgist ON more.indexed USING spgist (p) WITH (fillfactor = 80);
CREATE INDEX by_net ON more.indexed USING spgist (ine);
CREATE INDEX by_brin ON more.indexed USING brin (at timestamptz_minmax_multi_ops (values_per_range = 8)) WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX by_expression ON more.indexed ((id % 10), (upper(t)) COLLATE "C" DESC NULLS LAST) WHERE id > 10 AND t IS NOT NULL;
CREATE INDEX by_siglen ON more.indexed USING gist (t public.gist_trgm_ops (siglen = 32));
ALTER INDEX more.by_expression ALTER COLUMN 1 SET STATISTICS 500;
COMMENT ON INDEX more.by_gin IS 'inverted';
CREATE UNIQUE INDEX by_cover ON more.indexed (id) INCLUDE (t, at) WITH (deduplicate_items = off);
CREATE STATISTICS more.dependent (dependencies, mcv) ON id, t FROM more.indexed;
CREATE STATISTICS more.of_expressions ON (id % 7), (lower(t)), at FROM more.indexed;
ALTER STATISTICS more.dependent SET STATISTICS 77;
COMMENT ON STATISTICS more.dependent IS 'together';

-- Inheritance from several, and partitions that differ from their parents.
CREATE TABLE more.one (x int NOT NULL DEFAULT 1, y text);
CREATE TABLE more.two (y text, z int CHECK (z < 1000));
CREATE TABLE more.both (own date, x int DEFAULT 2) INHERITS (more.one, more.two);
CREATE TABLE more.adopted (z int, y text);
ALTER TABLE more.adopted DROP COLUMN z, ADD COLUMN z int CONSTRAINT two_z_check CHECK (z < 1000);
ALTER TABLE more.adopted INHERIT more.two;
INSERT INTO more.both (x, y, z, own) SELECT i, 'y', i, '2026-01-01' FROM generate_series(1, 30) AS i;
INSERT INTO more.adopted (y, z) VALUES ('a', 1);
CREATE TABLE more.measure (id int NOT NULL, at date NOT NULL, kind text, value numeric DEFAULT 0, PRIMARY KEY (at, id)) PARTITION BY RANGE (at, id);
CREATE TABLE more.measure_1 PARTITION OF more.measure (value DEFAULT 7, CONSTRAINT small CHECK (value < 1000)) FOR VALUES FROM (MINVALUE, MINVALUE) TO ('2026-01-01', 0) WITH (fillfactor = 60);
CREATE TABLE more.measure_2 (kind text, dropped int, value numeric, at date NOT NULL, id int NOT NULL);
ALTER TABLE more.measure_2 DROP COLUMN dropped;
ALTER TABLE more.measure ATTACH PARTITION more.measure_2 FOR VALUES FROM ('2026-01-01', 0) TO ('2027-01-01', MAXVALUE);
CREATE TABLE more.measure_rest PARTITION OF more.measure DEFAULT PARTITION BY HASH (id);
CREATE TABLE more.measure_rest_0 PARTITION OF more.measure_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE more.measure_rest_1 PARTITION OF more.measure_rest FOR VALUES WITH (MODULUS 4, REMAINDER 1) PARTITION BY RANGE (at);
CREATE TABLE more.measure_rest_1_new PARTITION OF more.measure_rest_1 FOR VALUES FROM ('2030-01-01') TO (MAXVALUE);
CREATE TABLE more.measure_rest_1_rest PARTITION OF more.measure_rest_1 DEFAULT;
CREATE TABLE more.measure_rest_3 PARTITION OF more.measure_rest FOR VALUES WITH (MODULUS 4, REMAINDER 3);
INSERT INTO more.measure SELECT i, DATE '2024-01-01' + i * 3, CASE i % 4 WHEN 0 THEN NULL ELSE chr(65 + i % 4) END, i % 900 FROM generate_series(1, 1500) AS i;
CREATE INDEX measure_kind ON more.measure (kind) INCLUDE (value);
CREATE INDEX not_everywhere ON ONLY more.measure (value);
CREATE INDEX measure_1_value ON more.measure_1 (value);
ALTER INDEX more.not_everywhere ATTACH PARTITION more.measure_1_value;
CREATE TABLE more.refers (at date, id int, FOREIGN KEY (at, id) REFERENCES more.measure);
INSERT INTO more.refers SELECT at, id FROM more.measure LIMIT 100;
COMMENT ON TABLE more.measure_2 IS 'a partition';
CREATE TABLE more.by_word (word text, n int) PARTITION BY LIST (lower(word));
CREATE TABLE more.by_word_some PARTITION OF more.by_word FOR VALUES IN ('a', 'b''c', NULL);
CREATE TABLE more.by_word_rest PARTITION OF more.by_word DEFAULT;
INSERT INTO more.by_word VALUES ('A', 1), ('B''C', 2), (NULL, 3), ('d', 4);

-- Triggers, rules, policies, views.
CREATE FUNCTION more.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN COALESCE(NEW, OLD); END $$;
CREATE FUNCTION more.seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER some_columns BEFORE UPDATE OF t, a ON more.indexed FOR EACH ROW WHEN (OLD.t IS DISTINCT FROM NEW.t) EXECUTE FUNCTION more.noted('arg', 'it''s', E'b\\s');
CREATE TRIGGER statement AFTER INSERT ON more.indexed REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION more.seen();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR DELETE ON more.child FROM more.parent DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION more.seen();
CREATE TRIGGER truncated BEFORE TRUNCATE ON more.indexed EXECUTE FUNCTION more.seen();
CREATE TRIGGER on_partitions AFTER INSERT ON more.measure FOR EACH ROW EXECUTE FUNCTION more.seen();
ALTER TABLE more.measure_1 DISABLE TRIGGER on_partitions;
ALTER TABLE more.indexed DISABLE TRIGGER some_columns, ENABLE REPLICA TRIGGER statement, ENABLE ALWAYS TRIGGER truncated;
COMMENT ON TRIGGER truncated ON more.indexed IS 'a trigger';
CREATE RULE also AS ON INSERT TO more.two WHERE NEW.z > 5 DO ALSO (INSERT INTO more.one (y) VALUES (NEW.y); SELECT 1);
CREATE RULE off AS ON UPDATE TO more.two DO INSTEAD NOTHING;
ALTER TABLE more.two DISABLE RULE off;
COMMENT ON RULE also ON more.two IS 'a rule';
ALTER TABLE more.parent ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of ON more.parent AS RESTRICTIVE FOR ALL TO PUBLIC USING (part < 4) WITH CHECK (part < 5);
CREATE POLICY some_of ON more.parent FOR INSERT TO reader, clerk WITH CHECK (id > 1);
CREATE POLICY mine ON more.parent FOR UPDATE TO CURRENT_USER USING (true);
COMMENT ON POLICY mine ON more.parent IS 'a policy';
CREATE VIEW more.guarded WITH (security_barrier = true, check_option = local) AS SELECT * FROM more.parent WHERE id > 3;
ALTER VIEW more.guarded ALTER COLUMN word SET DEFAULT 'by view';
CREATE TRIGGER instead INSTEAD OF DELETE ON more.guarded FOR EACH ROW EXECUTE FUNCTION more.noted();
CREATE VIEW more.counting AS WITH RECURSIVE counted (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM counted WHERE n < 10) SELECT n FROM counted;
-- A view that a key holds up, and one that a function refers to: pg_dump cuts such circles.
CREATE VIEW more.grouped AS SELECT p.id, p.part, p.word, count(*) AS n FROM more.parent p JOIN more.child c USING (id, part) GROUP BY p.id, p.part;
CREATE FUNCTION more.of_view() RETURNS SETOF more.grouped LANGUAGE sql AS 'SELECT * FROM more.grouped';
CREATE VIEW more.of_function AS SELECT * FROM more.of_view();
COMMENT ON VIEW more.grouped IS 'a view';
COMMENT ON COLUMN more.grouped.n IS 'how many';
\if :v15
CREATE VIEW more.invoking WITH (security_invoker = true) AS SELECT * FROM more.child;
\endif
CREATE MATERIALIZED VIEW more.kept WITH (fillfactor = 55) AS SELECT i, 'row ' || i AS t FROM generate_series(1, 100) AS i;
CREATE UNIQUE INDEX ON more.kept (i);
ALTER MATERIALIZED VIEW more.kept CLUSTER ON kept_i_idx;
COMMENT ON MATERIALIZED VIEW more.kept IS 'kept';

-- Names that hold everything: quotes, dots, spaces, line feeds, letters of the world.
\set odd 'a.b "c" ''d'' \303\251\nf'
\set thing 't;--\n\\t $$ \303\274'
CREATE SCHEMA :"odd";
CREATE TABLE :"odd".:"thing" ("c 1" int, "C.2" text, "日本" text, "%s" int PRIMARY KEY, "it's ""d""" text DEFAULT E'\n;--');
INSERT INTO :"odd".:"thing" ("c 1", "C.2", "日本", "%s") SELECT i, 'x', 'ü', i FROM generate_series(1, 30) AS i;
CREATE INDEX "an index; '" ON :"odd".:"thing" ("日本", ("c 1" + 1));
COMMENT ON COLUMN :"odd".:"thing"."日本" IS E'line\nline; -- "x" \\ $$ ''quoted''';
CREATE SEQUENCE :"odd"."S.q 1" START 5;
CREATE FUNCTION :"odd"."f ( x" ("the arg" int DEFAULT 1) RETURNS text LANGUAGE sql AS $f$ SELECT 'a;b -- c' || $q$ $$ $q$ $f$;
CREATE TYPE :"odd"."t Y" AS ENUM ('1;', E'\\n');
CREATE TABLE more."select" ("from" int, "user" text, "Table" :"odd"."t Y", b :"odd"."t Y"[]);
INSERT INTO more."select" VALUES (1, 'u', '1;', '{1;,NULL}');

-- Rights on everything, by several grantors, and taken from owners.
GRANT USAGE, CREATE ON SCHEMA more TO clerk WITH GRANT OPTION;
GRANT ALL ON SCHEMA :"odd" TO reader;
GRANT SELECT ON :"odd".:"thing" TO reader;
GRANT SELECT (a, b), INSERT (a), REFERENCES (a) ON more.numbered TO reader;
GRANT SELECT, TRIGGER, TRUNCATE ON more.numbered TO PUBLIC;
GRANT USAGE, UPDATE ON SEQUENCE more.down TO reader WITH GRANT OPTION;
GRANT EXECUTE ON PROCEDURE more.does TO reader;
REVOKE EXECUTE ON FUNCTION more.many FROM PUBLIC, "the owner";
GRANT USAGE ON TYPE more.label TO clerk WITH GRANT OPTION;
REVOKE USAGE ON TYPE more.pair FROM PUBLIC;
GRANT USAGE ON DOMAIN more.code TO reader;
GRANT SELECT ON more.guarded, more.kept TO reader;
GRANT SELECT (t) ON more.kept TO clerk;
REVOKE ALL ON more.stored FROM "the owner";
\if :v17
GRANT MAINTAIN ON more.kept, more.parent TO reader;
\endif
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO reader;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO clerk WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA more GRANT USAGE ON TYPES TO reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA more GRANT EXECUTE ON ROUTINES TO clerk;
\if :v18
ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO reader;
\endif
RESET ROLE;
SET ROLE clerk;
CREATE TABLE more.of_clerk (id int PRIMARY KEY, l more.label);
INSERT INTO more.of_clerk VALUES (1, 'a');
GRANT SELECT ON more.of_clerk TO reader;
GRANT USAGE ON SCHEMA more TO reader;
GRANT USAGE ON TYPE more.label TO reader;
SELECT lo_from_bytea(700010, '\x00ff');
GRANT SELECT, UPDATE ON LARGE OBJECT 700010 TO "the owner" WITH GRANT OPTION;
REVOKE UPDATE ON LARGE OBJECT 700010 FROM clerk;
COMMENT ON LARGE OBJECT 700010 IS 'of the "clerk"''s \ own';
ALTER DEFAULT PRIVILEGES IN SCHEMA more GRANT SELECT ON TABLES TO PUBLIC;
RESET ROLE;
SET ROLE "the owner";
GRANT SELECT ON LARGE OBJECT 700010 TO reader;
CREATE PUBLICATION nothing WITH (publish = 'update, delete', publish_via_partition_root = true);
COMMENT ON PUBLICATION nothing IS 'of nothing';
\if :v15
CREATE PUBLICATION filtered FOR TABLE more.child (id, part, other), more.parent WHERE (id > 5);
\endif
\if :v18
CREATE PUBLICATION generated FOR TABLE more.numbered WITH (publish_generated_columns = stored);
\endif
RESET ROLE;
