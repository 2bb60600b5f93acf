-- Which locales of the operating system does this server know?
SELECT collcollate FROM pg_catalog.pg_collation WHERE collprovider = 'c' AND collcollate IS NOT NULL
UNION SELECT datcollate FROM pg_catalog.pg_database
UNION SELECT datctype FROM pg_catalog.pg_database
UNION VALUES ('C'), ('POSIX');
