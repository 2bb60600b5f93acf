-- One of everything that a database of PostgreSQL 14 to 18 can hold and a role without special
-- rights can own. Run by a superuser in an empty database; "the owner" and reader are roles.
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE EXTENSION btree_gist;
GRANT CREATE ON DATABASE shop TO "the owner";
ALTER DATABASE shop OWNER TO "the owner";
COMMENT ON DATABASE shop IS 'it''s the shop';
ALTER DATABASE shop SET search_path = "$user", app, public;
ALTER DATABASE shop SET work_mem = '5MB';
GRANT CONNECT ON DATABASE shop TO reader;
SET ROLE "the owner";
CREATE SCHEMA app;
COMMENT ON SCHEMA app IS 'with a
line feed';
CREATE SCHEMA "Odd ""schema""";
CREATE TYPE app.mood AS ENUM ('sad', 'so so', 'glad');
CREATE TYPE app.point3 AS (x int, y int, z numeric(10, 2));
CREATE TYPE app.span AS RANGE (subtype = float8);
CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN app.moods AS app.mood[];
CREATE COLLATION app.plain (provider = icu, locale = 'und');
CREATE SEQUENCE app.loose START 100 INCREMENT 7;
SELECT nextval('app.loose'), nextval('app.loose');
CREATE SEQUENCE app.untouched;

CREATE FUNCTION app.twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2;';
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.note := coalesce(NEW.note, '') || ' touched';
    RETURN NEW;
END $$;
CREATE PROCEDURE app.nothing() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE AGGREGATE app.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE FUNCTION app.later() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT count(*) FROM app.not_there_yet);
END $$;

CREATE TABLE app.customer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email citext UNIQUE,
    mood app.mood DEFAULT 'so so',
    place app.point3,
    many app.moods,
    extra hstore,
    facts jsonb,
    born date,
    seen timestamptz DEFAULT now(),
    price app.positive,
    doubled int GENERATED ALWAYS AS (app.twice(price)) STORED,
    during tstzrange,
    note text,
    raw bytea,
    sorted text COLLATE app.plain,
    EXCLUDE USING gist (id WITH =, during WITH &&)
);
ALTER TABLE app.customer ALTER COLUMN name SET STATISTICS 50;
COMMENT ON TABLE app.customer IS 'people';
COMMENT ON COLUMN app.customer.name IS 'theirs';
INSERT INTO app.customer (name, email, mood, place, many, extra, facts, born, seen, price, during, note, raw)
SELECT 'name ' || i, 'n' || i || '@Example.org', (ARRAY['sad', 'so so', 'glad'])[1 + i % 3]::app.mood,
       ROW(i, -i, i / 3.0)::app.point3, ARRAY['sad', 'glad']::app.mood[], hstore('k', i::text),
       jsonb_build_object('i', i, 'list', ARRAY[i, i + 1]), DATE '1970-01-01' + i,
       TIMESTAMPTZ '2026-01-01 00:00:00.123456+00' + i * INTERVAL '1 minute', i,
       tstzrange('2026-01-01', '2026-02-01'),
       CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN E'a\tb\\c\n' WHEN 2 THEN '' ELSE '\N' END,
       decode(md5(i::text), 'hex')
FROM generate_series(1, 3000) AS i;
ALTER TABLE app.customer DROP COLUMN born;
ALTER TABLE app.customer ADD COLUMN added int DEFAULT 42;

-- TOAST, compressed and not.
CREATE TABLE app.long (id serial PRIMARY KEY, body text, packed text);
ALTER TABLE app.long ALTER COLUMN body SET STORAGE EXTERNAL;
INSERT INTO app.long (body, packed)
SELECT repeat(md5(i::text), 2000), repeat('x', 200000) FROM generate_series(1, 40) AS i;

-- Foreign keys in a circle.
CREATE TABLE app.chicken (id int PRIMARY KEY, egg int);
CREATE TABLE app.egg (id int PRIMARY KEY, chicken int REFERENCES app.chicken DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE app.chicken ADD FOREIGN KEY (egg) REFERENCES app.egg DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO app.chicken SELECT i, i FROM generate_series(1, 100) AS i;
INSERT INTO app.egg SELECT i, i FROM generate_series(1, 100) AS i;
COMMIT;

-- Inheritance: the child's columns come in another order.
CREATE TABLE app.vehicle (id int, wheels int, CONSTRAINT has_wheels CHECK (wheels >= 0));
CREATE TABLE app.truck (load int) INHERITS (app.vehicle);
ALTER TABLE app.vehicle ADD COLUMN colour text DEFAULT 'red';
INSERT INTO app.vehicle VALUES (1, 2, 'blue');
INSERT INTO app.truck (id, wheels, load) SELECT i, 6, i * 100 FROM generate_series(2, 50) AS i;

-- Partitions of all kinds, and below each other; a hash over an enum.
CREATE TABLE app.sale (id int, at date, region text) PARTITION BY RANGE (at);
CREATE TABLE app.sale_old PARTITION OF app.sale FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE app.sale_new PARTITION OF app.sale FOR VALUES FROM ('2026-01-01') TO (MAXVALUE) PARTITION BY LIST (region);
CREATE TABLE app.sale_new_north PARTITION OF app.sale_new FOR VALUES IN ('north');
CREATE TABLE app.sale_new_rest PARTITION OF app.sale_new DEFAULT;
CREATE INDEX ON app.sale (region);
INSERT INTO app.sale SELECT i, DATE '2025-06-01' + i, CASE i % 3 WHEN 0 THEN 'north' ELSE 'south' END FROM generate_series(1, 500) AS i;
CREATE TABLE app.by_mood (mood app.mood, n int) PARTITION BY HASH (mood);
CREATE TABLE app.by_mood_0 PARTITION OF app.by_mood FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE app.by_mood_1 PARTITION OF app.by_mood FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE app.by_mood_2 PARTITION OF app.by_mood FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO app.by_mood SELECT (ARRAY['sad', 'so so', 'glad'])[1 + i % 3]::app.mood, i FROM generate_series(1, 300) AS i;

-- Names that need quotes, a table without rows, one without columns, one that is not logged.
CREATE TABLE "Odd ""schema"""."A table; with 'signs'" ("COLUMN" int, "b""c" text);
INSERT INTO "Odd ""schema"""."A table; with 'signs'" VALUES (1, 'x');
CREATE TABLE app.empty (id int PRIMARY KEY);
CREATE TABLE app.nothing ();
INSERT INTO app.nothing SELECT FROM generate_series(1, 3);
CREATE UNLOGGED TABLE app.unlogged (id int);
INSERT INTO app.unlogged SELECT generate_series(1, 10);
CREATE TABLE app.named (r regclass, o oid);
INSERT INTO app.named VALUES ('app.customer', 1);

CREATE INDEX customer_name ON app.customer (lower(name)) WHERE mood = 'glad';
CREATE INDEX customer_facts ON app.customer USING gin (facts);
COMMENT ON INDEX app.customer_name IS 'an index';
CREATE UNIQUE INDEX long_once ON app.long (md5(body));
CREATE STATISTICS app.both (ndistinct) ON name, note FROM app.customer;
CREATE TRIGGER touch BEFORE INSERT ON app.customer FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE RULE quiet AS ON DELETE TO app.empty DO INSTEAD NOTHING;
ALTER TABLE app.customer ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.customer FORCE ROW LEVEL SECURITY;
CREATE POLICY glad_ones ON app.customer FOR SELECT TO reader USING (mood = 'glad');
ALTER TABLE app.long ADD CONSTRAINT long_body CHECK (length(body) > 0) NOT VALID;
ALTER TABLE app.long REPLICA IDENTITY FULL;
ALTER TABLE app.chicken CLUSTER ON chicken_pkey;

CREATE VIEW app.glad AS SELECT id, name FROM app.customer WHERE mood = 'glad' WITH CHECK OPTION;
-- In the order of their names, each would be filled before what it is made from.
CREATE MATERIALIZED VIEW app.zz_counts AS SELECT at, count(*) AS n FROM app.sale GROUP BY at;
CREATE VIEW app.between_views AS SELECT n FROM app.zz_counts;
CREATE MATERIALIZED VIEW app.aa_total AS SELECT sum(n) AS n FROM app.between_views;
CREATE UNIQUE INDEX ON app.zz_counts (at);
CREATE MATERIALIZED VIEW app.unfilled AS SELECT 1 AS one WITH NO DATA;

SELECT lo_create(700001), lo_create(700002), lo_create(700003);
SELECT lo_put(700001, 0, convert_to(repeat('0123456789', 1000), 'UTF8'));
-- Sparse.
SELECT lo_put(700002, 100000, 'at the end');
COMMENT ON LARGE OBJECT 700001 IS 'ten thousand bytes';
GRANT SELECT ON LARGE OBJECT 700001 TO reader;

GRANT USAGE ON SCHEMA app TO reader, clerk;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO reader;
GRANT UPDATE (name) ON app.customer TO reader WITH GRANT OPTION;
REVOKE INSERT ON app.sale_old FROM "the owner";
GRANT SELECT ON app.chicken TO clerk WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION app.twice TO reader;
REVOKE ALL ON FUNCTION app.twice FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO reader;
RESET ROLE;
SET ROLE clerk;
GRANT SELECT ON app.chicken TO reader;
RESET ROLE;
CREATE PUBLICATION some_tables FOR TABLE app.egg WITH (publish = 'insert');
ALTER PUBLICATION some_tables OWNER TO "the owner";
