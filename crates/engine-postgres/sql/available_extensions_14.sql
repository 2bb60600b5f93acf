-- Which of these extensions are installed on this server, which version would be made, and may
-- somebody make it who is no superuser?
SELECT v.name, v.version, NOT v.superuser OR v.trusted
FROM pg_catalog.pg_available_extensions e
JOIN pg_catalog.pg_available_extension_versions v
  ON v.name = e.name AND v.version = e.default_version
WHERE e.name = ANY ($1);
