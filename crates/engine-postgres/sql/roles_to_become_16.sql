-- Which roles are there, and of which are we a member, so that we have their rights and may make
-- them owners? Since 16 a membership may give only one of both.
SELECT rolname, pg_catalog.pg_has_role(oid, 'USAGE') AND pg_catalog.pg_has_role(oid, 'SET')
FROM pg_catalog.pg_roles;
