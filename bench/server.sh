# Sourced by the benchmarks of deltas: a PostgreSQL of its own and a Backstay beside it, both gone at the end.
#
# Before: version, settings (lines of postgresql.conf), backstay (a program, or empty: it is built). Afterwards: $work,
# $bin, $cache, a database system on $PGHOST:$PGPORT, a Backstay on $BACKSTAY_SERVER with a site `bench`.
# shellcheck shell=bash

dev/test --setup-only
if [ -z "$backstay" ]; then
  cargo build --release --quiet
  backstay=$(realpath "${CARGO_TARGET_DIR:-target}/release/backstay")
fi
if [ "$(id -u)" = 0 ]; then cache=/var/cache/backstay; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/backstay; fi
cache=${BACKSTAY_TEST_CACHE:-$cache}
bin=$(awk -v v="$version" '$1 == v { print $2 }' "$cache/postgres/versions")
export BACKSTAY_PG_BIN=$bin PGHOST PGPORT=${PGPORT:-5591} PGUSER=postgres PGPASSWORD=bench

work=$(mktemp -d /tmp/backstay-bench.XXXXXX)
PGHOST=$work
as_server() { # PostgreSQL refuses to run as root
  if [ "$(id -u)" = 0 ]; then setpriv --reuid=backstay-test --regid=backstay-test --clear-groups "$@"; else "$@"; fi
}
[ "$(id -u)" != 0 ] || chown backstay-test "$work"
chmod 755 "$work"
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  as_server "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

as_server "$bin/initdb" -D "$work/data" -U postgres --auth=trust >/dev/null
cat >>"$work/data/postgresql.conf" <<CONF
port = $PGPORT
unix_socket_directories = '$work'
listen_addresses = '127.0.0.1'
shared_buffers = 128MB
max_wal_size = 8GB
checkpoint_timeout = 1h
autovacuum = off
summarize_wal = on
$settings
CONF
as_server "$bin/pg_ctl" -D "$work/data" -l "$work/log" -w start >/dev/null || { cat "$work/log" >&2; exit 1; }
"$bin/createdb" bench
postmaster=$(head -n 1 "$work/data/postmaster.pid")

# 13 columns, about 230 bytes a row.
make_orders() { # ROWS
  "$bin/psql" -q bench <<SQL
CREATE TABLE orders (
  id bigint PRIMARY KEY, customer int, product int, quantity smallint, price numeric(10,2),
  placed timestamptz, shipped date, paid boolean, country char(2), email text, note text,
  reference uuid, tags text[]);
INSERT INTO orders
SELECT n, n % 30011, n % 3001, n % 7, (n % 10007) / 7.0, now() - n * interval '1 second',
       current_date - (n % 700)::int, n % 5 <> 0, (ARRAY['de','fr','us','jp'])[n % 4 + 1],
       'customer' || n % 30011 || '@example.org', repeat(md5(n::text) || ' ', (n % 4)::int),
       md5(n::text)::uuid, ARRAY['tag' || n % 11, 'tag' || n % 13]
FROM generate_series(1, $1) n;
VACUUM ANALYZE;
CHECKPOINT;
SQL
}

export BACKSTAY_ADMIN_TOKEN=bench-token-of-a-throw-away-server BACKSTAY_TOKEN=bench-token-of-a-throw-away-server
export BACKSTAY_SERVER=http://127.0.0.1:${BACKSTAY_PORT:-8691}
start_backstay() {
  mkdir -m 700 "$work/backstay"
  "$backstay" serve --data-dir "$work/backstay" --listen "${BACKSTAY_SERVER#http://}" >"$work/backstay.log" 2>&1 &
  server=$!
  for _ in $(seq 100); do "$backstay" site list >/dev/null 2>&1 && break; sleep 0.1; done
  "$backstay" site add bench --type postgresql --url "postgres://postgres@127.0.0.1:$PGPORT/postgres" \
    --vault "$work/vault" --soft-limit 2 --hard-limit 2 >/dev/null
}

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }
# Bytes that a process and its ended children have read by read(2) and the like.
has_read() { awk '/^rchar/ { print $2 }' "/proc/$1/io"; }
bytes_in() { du -sb "$1" 2>/dev/null | cut -f1; }
mb() { awk -v n="$1" 'BEGIN { printf "%.1f", n / 1e6 }'; }
quietly() { "$@" >"$work/last.log" 2>&1 || { cat "$work/last.log" >&2; exit 1; }; }
