-- What only a superuser can make; run after everything.sql and more_of_everything.sql, in the same
-- database. The server makes the directories of its tablespaces beside its socket.
SELECT current_setting('server_version_num')::int >= 150000 AS v15,
       current_setting('server_version_num')::int >= 160000 AS v16,
       current_setting('server_version_num')::int >= 170000 AS v17,
       current_setting('server_version_num')::int >= 180000 AS v18,
       setting AS home FROM pg_settings WHERE name = 'unix_socket_directories' \gset
SET client_encoding = 'UTF8';
SET search_path = '';

-- Of the server: roles with all options, memberships, tablespaces, settings, rights on parameters.
CREATE ROLE "chief ""of"" all" SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS LOGIN CONNECTION LIMIT 7
    PASSWORD 'never in a saveset' VALID UNTIL '2035-01-01 00:00:00+00';
CREATE ROLE staff NOINHERIT;
COMMENT ON ROLE staff IS 'it''s all of them';
GRANT staff TO "the owner" WITH ADMIN OPTION;
GRANT reader TO staff;
\if :v16
GRANT clerk TO staff WITH INHERIT FALSE, SET FALSE;
GRANT pg_read_server_files TO staff WITH INHERIT TRUE;
\else
GRANT clerk TO staff;
\endif
ALTER ROLE staff SET search_path = 'x y', "$user";
ALTER ROLE reader IN DATABASE shop SET work_mem = '7MB';
ALTER ROLE ALL IN DATABASE shop SET lock_timeout = '11s';
ALTER DATABASE shop SET app.motto = 'it''s "quoted", with a \ and, a comma';
ALTER DATABASE shop CONNECTION LIMIT 55;
GRANT TEMPORARY, CONNECT ON DATABASE shop TO clerk WITH GRANT OPTION;
\if :v15
GRANT SET ON PARAMETER log_min_duration_statement TO reader;
GRANT ALTER SYSTEM, SET ON PARAMETER work_mem TO clerk WITH GRANT OPTION;
\endif
\set quick :home '/quick'
\set slow :home '/slow'
\set make_quick 'cat; mkdir ' :quick
\set make_slow 'cat; mkdir ' :slow
COPY (SELECT 1) TO PROGRAM :'make_quick';
COPY (SELECT 1) TO PROGRAM :'make_slow';
CREATE TABLESPACE quick OWNER "the owner" LOCATION :'quick';
CREATE TABLESPACE "slow ""one""" LOCATION :'slow' WITH (random_page_cost = 9);
GRANT CREATE ON TABLESPACE "slow ""one""" TO clerk, "the owner" WITH GRANT OPTION;
COMMENT ON TABLESPACE quick IS 'quick';

CREATE SCHEMA special;
CREATE TABLE special.placed (id int PRIMARY KEY USING INDEX TABLESPACE "slow ""one""", x text) TABLESPACE quick;
CREATE INDEX placed_x ON special.placed (x) TABLESPACE quick;
INSERT INTO special.placed SELECT i, 'x' || i FROM generate_series(1, 100) AS i;
CREATE MATERIALIZED VIEW special.placed_view TABLESPACE quick AS SELECT count(*) FROM special.placed;
CREATE TABLE special.placed_parts (id int) PARTITION BY RANGE (id) TABLESPACE quick;
CREATE TABLE special.placed_part PARTITION OF special.placed_parts FOR VALUES FROM (0) TO (10) TABLESPACE "slow ""one""";

-- A base type with all that belongs to one.
CREATE TYPE special.number;
CREATE FUNCTION special.number_in(cstring) RETURNS special.number LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION special.number_out(special.number) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE FUNCTION special.number_recv(internal) RETURNS special.number LANGUAGE internal IMMUTABLE STRICT AS 'int4recv';
CREATE FUNCTION special.number_send(special.number) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'int4send';
CREATE TYPE special.number (INPUT = special.number_in, OUTPUT = special.number_out, RECEIVE = special.number_recv,
    SEND = special.number_send, INTERNALLENGTH = 4, PASSEDBYVALUE, ALIGNMENT = int4, CATEGORY = 'N', DEFAULT = '0', DELIMITER = ';');
CREATE TYPE special.only_a_shell;
COMMENT ON TYPE special.number IS 'a number';
CREATE FUNCTION special.less(special.number, special.number) RETURNS bool LANGUAGE internal IMMUTABLE STRICT LEAKPROOF AS 'int4lt';
CREATE FUNCTION special.equal(special.number, special.number) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4eq';
CREATE FUNCTION special.greater(special.number, special.number) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4gt';
CREATE FUNCTION special.less_equal(special.number, special.number) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4le';
CREATE FUNCTION special.greater_equal(special.number, special.number) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4ge';
CREATE FUNCTION special.compare(special.number, special.number) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'btint4cmp';
CREATE FUNCTION special.hash(special.number) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'hashint4';
CREATE FUNCTION special.hash(special.number, int8) RETURNS int8 LANGUAGE internal IMMUTABLE STRICT AS 'hashint4extended';
CREATE OPERATOR special.< (LEFTARG = special.number, RIGHTARG = special.number, FUNCTION = special.less, COMMUTATOR = OPERATOR(special.>), NEGATOR = OPERATOR(special.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR special.<= (LEFTARG = special.number, RIGHTARG = special.number, FUNCTION = special.less_equal, COMMUTATOR = OPERATOR(special.>=), NEGATOR = OPERATOR(special.>));
CREATE OPERATOR special.= (LEFTARG = special.number, RIGHTARG = special.number, FUNCTION = special.equal, COMMUTATOR = OPERATOR(special.=), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR special.>= (LEFTARG = special.number, RIGHTARG = special.number, FUNCTION = special.greater_equal);
CREATE OPERATOR special.> (LEFTARG = special.number, RIGHTARG = special.number, FUNCTION = special.greater);
CREATE OPERATOR FAMILY special.numbers USING btree;
CREATE OPERATOR CLASS special.number_ops DEFAULT FOR TYPE special.number USING btree FAMILY special.numbers AS
    OPERATOR 1 special.<, OPERATOR 2 special.<=, OPERATOR 3 special.=, OPERATOR 4 special.>=, OPERATOR 5 special.>,
    FUNCTION 1 special.compare(special.number, special.number);
CREATE OPERATOR CLASS special.number_hash DEFAULT FOR TYPE special.number USING hash AS
    OPERATOR 1 special.=, FUNCTION 1 special.hash(special.number), FUNCTION 2 special.hash(special.number, int8);
CREATE FUNCTION special.compare_mixed(special.number, int) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'btint4cmp';
CREATE FUNCTION special.less_mixed(special.number, int) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'int4lt';
CREATE OPERATOR special.< (LEFTARG = special.number, RIGHTARG = int, FUNCTION = special.less_mixed);
ALTER OPERATOR FAMILY special.numbers USING btree ADD OPERATOR 1 special.< (special.number, int),
    FUNCTION 1 special.compare_mixed(special.number, int);
COMMENT ON OPERATOR FAMILY special.numbers USING btree IS 'numbers';
COMMENT ON OPERATOR CLASS special.number_ops USING btree IS 'of numbers';
CREATE CAST (special.number AS int) WITHOUT FUNCTION AS IMPLICIT;
CREATE TABLE special.numbers (n special.number PRIMARY KEY, list special.number[]);
INSERT INTO special.numbers SELECT i::text::special.number, '{1;2}' FROM generate_series(1, 100) AS i;
CREATE INDEX ON special.numbers USING hash (n);
CREATE TABLE special.by_number (n special.number, x int) PARTITION BY HASH (n);
CREATE TABLE special.by_number_0 PARTITION OF special.by_number FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE special.by_number_1 PARTITION OF special.by_number FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO special.by_number SELECT n, 1 FROM special.numbers;

-- Access methods, languages, transforms, parsers, templates.
CREATE ACCESS METHOD heap_of_ours TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD tree_of_ours TYPE INDEX HANDLER gisthandler;
COMMENT ON ACCESS METHOD heap_of_ours IS 'ours';
CREATE OPERATOR CLASS special.points DEFAULT FOR TYPE point USING tree_of_ours AS
    STORAGE box, OPERATOR 11 pg_catalog.|>>(point, point), OPERATOR 15 pg_catalog.<->(point, point) FOR ORDER BY pg_catalog.float_ops,
    FUNCTION 1 gist_point_consistent(internal, point, smallint, oid, internal), FUNCTION 2 gist_box_union(internal, internal),
    FUNCTION 3 gist_point_compress(internal), FUNCTION 5 gist_box_penalty(internal, internal, internal),
    FUNCTION 6 gist_box_picksplit(internal, internal), FUNCTION 7 gist_box_same(box, box, internal),
    FUNCTION 8 gist_point_distance(internal, point, smallint, oid, internal);
CREATE TABLE special.in_our_heap (id int, p point) USING heap_of_ours;
INSERT INTO special.in_our_heap SELECT i, point(i, i) FROM generate_series(1, 100) AS i;
CREATE INDEX in_our_tree ON special.in_our_heap USING tree_of_ours (p);
CREATE FUNCTION special.handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION special.inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION special.validator(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE our_language HANDLER special.handler INLINE special.inline VALIDATOR special.validator;
COMMENT ON LANGUAGE our_language IS 'ours';
GRANT USAGE ON LANGUAGE our_language TO reader WITH GRANT OPTION;
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
CREATE FUNCTION special.spoken() RETURNS int LANGUAGE our_language AS 'BEGIN RETURN 1; END';
CREATE FUNCTION special.from_sql(internal) RETURNS internal LANGUAGE internal STRICT IMMUTABLE AS 'prsd_lextype';
CREATE FUNCTION special.to_sql(internal) RETURNS special.number LANGUAGE internal STRICT IMMUTABLE AS 'int4recv';
CREATE TRANSFORM FOR special.number LANGUAGE our_language (FROM SQL WITH FUNCTION special.from_sql(internal), TO SQL WITH FUNCTION special.to_sql(internal));
COMMENT ON TRANSFORM FOR special.number LANGUAGE our_language IS 'ours';
CREATE FUNCTION special.transformed(special.number) RETURNS int TRANSFORM FOR TYPE special.number LANGUAGE our_language AS 'BEGIN RETURN 1; END';
CREATE TEXT SEARCH PARSER special.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE special.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
COMMENT ON TEXT SEARCH PARSER special.parser IS 'a parser';
COMMENT ON TEXT SEARCH TEMPLATE special.template IS 'a template';
CREATE TEXT SEARCH DICTIONARY special.dictionary (TEMPLATE = special.template);
CREATE TEXT SEARCH CONFIGURATION special.configuration (PARSER = special.parser);
ALTER TEXT SEARCH CONFIGURATION special.configuration ADD MAPPING FOR word WITH special.dictionary;

-- Functions and aggregates over internal states.
CREATE FUNCTION special.nth_value(anyelement, int) RETURNS anyelement LANGUAGE internal WINDOW IMMUTABLE STRICT AS 'window_nth_value';
CREATE FUNCTION special.planned(int) RETURNS SETOF int LANGUAGE internal IMMUTABLE STRICT ROWS 3 SUPPORT generate_series_int4_support AS 'generate_series_int4';
CREATE AGGREGATE special.percentile (float8 ORDER BY anyelement) (STYPE = internal, SFUNC = ordered_set_transition, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA, FINALFUNC_MODIFY = READ_WRITE);
CREATE AGGREGATE special.rank (VARIADIC "any" ORDER BY VARIADIC "any") (STYPE = internal, SFUNC = ordered_set_transition_multi, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
CREATE AGGREGATE special.together (int8) (STYPE = internal, SSPACE = 48, SFUNC = int8_avg_accum, FINALFUNC = numeric_poly_sum, COMBINEFUNC = int8_avg_combine, SERIALFUNC = int8_avg_serialize, DESERIALFUNC = int8_avg_deserialize, PARALLEL = SAFE);

-- Foreign data.
CREATE EXTENSION file_fdw SCHEMA public;
CREATE EXTENSION postgres_fdw SCHEMA public;
CREATE FOREIGN DATA WRAPPER nothing_at_all OPTIONS (debug 'it''s true');
COMMENT ON FOREIGN DATA WRAPPER nothing_at_all IS 'nothing';
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw, nothing_at_all TO clerk WITH GRANT OPTION;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE SERVER "far ""away""" TYPE 'kind' VERSION '1.2' FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'no where');
COMMENT ON SERVER files IS 'files';
GRANT USAGE ON FOREIGN SERVER "far ""away""" TO reader;
CREATE USER MAPPING FOR PUBLIC SERVER "far ""away""" OPTIONS (user 'nobody', password 'of a mapping');
CREATE USER MAPPING FOR reader SERVER "far ""away""" OPTIONS (user 'reader''s');
CREATE FOREIGN TABLE special.file (a int OPTIONS (force_not_null 'false'), b text COLLATE "C" NOT NULL DEFAULT 'x', CHECK (a > 0)) SERVER files OPTIONS (filename '/etc/hostname', format 'csv');
ALTER FOREIGN TABLE special.file ALTER COLUMN a SET STATISTICS 9;
COMMENT ON FOREIGN TABLE special.file IS 'a file';
CREATE FOREIGN TABLE special.far (id int OPTIONS (column_name 'Id')) INHERITS (more.one) SERVER "far ""away""" OPTIONS (schema_name 's', table_name 't');
CREATE TABLE special.near_and_far (id int) PARTITION BY RANGE (id);
CREATE TABLE special.near PARTITION OF special.near_and_far FOR VALUES FROM (0) TO (10);
CREATE FOREIGN TABLE special.far_part PARTITION OF special.near_and_far FOR VALUES FROM (10) TO (20) SERVER "far ""away""" OPTIONS (table_name 'part');
INSERT INTO special.near_and_far SELECT generate_series(0, 9);
GRANT SELECT ON special.file TO reader;

-- What fires, what is published, what is written about everybody else's.
CREATE FUNCTION special.fired() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'fired'; END $$;
CREATE EVENT TRIGGER on_end ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION special.fired();
CREATE EVENT TRIGGER on_drop ON sql_drop EXECUTE FUNCTION special.fired();
CREATE EVENT TRIGGER on_rewrite ON table_rewrite EXECUTE FUNCTION special.fired();
\if :v17
CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION special.fired();
ALTER EVENT TRIGGER on_login DISABLE;
\endif
ALTER EVENT TRIGGER on_drop DISABLE;
ALTER EVENT TRIGGER on_end ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER on_end IS 'at the end';
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert, truncate');
\if :v15
CREATE PUBLICATION schemas FOR TABLES IN SCHEMA special, app;
CREATE PUBLICATION two_ways FOR TABLES IN SCHEMA special, TABLE more.child WHERE (id > 3);
\endif
ALTER TABLE special.numbers OWNER TO "the owner";
ALTER DEFAULT PRIVILEGES FOR ROLE staff GRANT SELECT ON TABLES TO "the owner";
ALTER DEFAULT PRIVILEGES FOR ROLE "the owner" IN SCHEMA special REVOKE ALL ON TABLES FROM reader;
GRANT USAGE ON SCHEMA special TO "the owner";
