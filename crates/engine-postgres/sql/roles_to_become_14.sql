-- Which roles are there, and of which are we a member, so that we have their rights and may make
-- them owners?
SELECT rolname, pg_catalog.pg_has_role(oid, 'USAGE')
FROM pg_catalog.pg_roles;
