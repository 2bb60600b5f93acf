-- A table with everything that can hang on one, and what hangs on it from elsewhere. Run as app.
CREATE SCHEMA s;
CREATE TYPE s.state AS ENUM ('new', 'paid');
CREATE DOMAIN s.positive AS int CHECK (VALUE > 0);
CREATE TABLE s.customer (id int PRIMARY KEY, name text);
CREATE FUNCTION s.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TABLE s.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    no serial,
    customer int NOT NULL CONSTRAINT to_customer REFERENCES s.customer,
    parent bigint REFERENCES s.orders,
    state s.state DEFAULT 'new',
    during int4range,
    amount s.positive,
    note text CONSTRAINT noted CHECK (note <> ''),
    twice int GENERATED ALWAYS AS (amount * 2) STORED,
    CONSTRAINT apart EXCLUDE USING gist (during WITH &&)
);
CREATE INDEX orders_new ON s.orders (customer) WHERE state = 'new';
CREATE INDEX by_note ON s.orders (lower(note));
CREATE STATISTICS s.orders_both (dependencies) ON customer, note FROM s.orders;
CREATE TRIGGER touch BEFORE INSERT ON s.orders FOR EACH ROW EXECUTE FUNCTION s.touch();
ALTER TABLE s.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY reading ON s.orders FOR SELECT TO reader USING (state = 'new');
CREATE UNIQUE INDEX orders_identity ON s.orders (id, customer);
ALTER TABLE s.orders REPLICA IDENTITY USING INDEX orders_identity;
COMMENT ON TABLE s.orders IS 'what was ordered';
COMMENT ON COLUMN s.orders.note IS 'a note';
COMMENT ON CONSTRAINT to_customer ON s.orders IS 'whose';
COMMENT ON INDEX s.by_note IS 'quick';
GRANT USAGE ON SCHEMA s TO reader;
GRANT SELECT ON s.orders TO reader;
GRANT UPDATE (note) ON s.orders TO reader;

-- From elsewhere.
CREATE TABLE s.line (orders bigint REFERENCES s.orders ON DELETE CASCADE, n int);
CREATE TABLE s.ticket (n int DEFAULT nextval('s.orders_no_seq'));
CREATE VIEW s.open_orders WITH (security_barrier) AS SELECT id, note FROM s.orders WHERE state = 'new';
GRANT SELECT ON s.open_orders TO reader;
CREATE VIEW s.open_count AS SELECT count(*) AS n FROM s.open_orders;
CREATE FUNCTION s.how_many() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM s.orders; END;
ALTER TABLE s.line ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_open ON s.line USING (EXISTS (SELECT FROM s.orders o WHERE o.id = orders));
CREATE PUBLICATION changes FOR TABLE s.orders, s.customer;

INSERT INTO s.customer SELECT i, 'customer ' || i FROM generate_series(1, 50) AS i;
INSERT INTO s.orders (customer, parent, during, amount, note, state)
SELECT 1 + i % 50, nullif(i - 1, 0), int4range(i * 10, i * 10 + 5), i, 'order ' || i,
       (ARRAY['new', 'paid'])[1 + i % 2]::s.state
FROM generate_series(1, 2000) AS i;
INSERT INTO s.line SELECT i, i FROM generate_series(1, 2000) AS i;

-- Partitions, one of them in another schema, and a plain child.
CREATE SCHEMA parts;
CREATE TABLE s.sale (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE s.sale_old PARTITION OF s.sale FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE s.sale_new PARTITION OF s.sale FOR VALUES FROM ('2026-01-01') TO (MAXVALUE) PARTITION BY HASH (id);
CREATE TABLE s.sale_new_0 PARTITION OF s.sale_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts.sale_new_1 PARTITION OF s.sale_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO s.sale SELECT i, DATE '2025-06-01' + i FROM generate_series(1, 500) AS i;
CREATE TABLE s.vehicle (id int, wheels int);
CREATE TABLE s.truck (load int) INHERITS (s.vehicle);
INSERT INTO s.vehicle SELECT i, 2 FROM generate_series(1, 10) AS i;
INSERT INTO s.truck SELECT i, 6, i FROM generate_series(11, 30) AS i;
