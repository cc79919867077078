-- Removes all tables, views, sequences, types and functions, but those of PostgreSQL and of extensions.
DO $$
DECLARE statement text;
BEGIN
    FOR statement IN
        WITH own AS (
            SELECT oid, quote_ident(nspname) AS name FROM pg_namespace
            WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'
        ), extended AS (
            SELECT objid FROM pg_depend WHERE deptype = 'e'
        )
        SELECT format('DROP %s IF EXISTS %s.%I CASCADE', kind, own.name, relname)
        FROM pg_class
        JOIN own ON own.oid = relnamespace
        JOIN (VALUES
            ('r', 'TABLE'), ('p', 'TABLE'), ('f', 'FOREIGN TABLE'), ('v', 'VIEW'),
            ('m', 'MATERIALIZED VIEW'), ('S', 'SEQUENCE')
        ) AS kinds (letter, kind) ON letter = relkind::text
        WHERE pg_class.oid NOT IN (SELECT objid FROM extended)
        UNION ALL
        SELECT format('DROP ROUTINE IF EXISTS %s.%I(%s) CASCADE',
            own.name, proname, pg_get_function_identity_arguments(pg_proc.oid))
        FROM pg_proc
        JOIN own ON own.oid = pronamespace
        WHERE pg_proc.oid NOT IN (SELECT objid FROM extended)
        UNION ALL
        SELECT format('DROP TYPE IF EXISTS %s.%I CASCADE', own.name, typname)
        FROM pg_type
        JOIN own ON own.oid = typnamespace
        WHERE typtype IN ('e', 'd') AND pg_type.oid NOT IN (SELECT objid FROM extended)
    LOOP
        EXECUTE statement;
    END LOOP;
END $$;
