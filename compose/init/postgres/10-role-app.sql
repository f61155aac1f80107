-- The role that the application connects as. It is not a superuser, so that a missing GRANT fails in a test and not in
-- production. That is all that happens here: tables and their grants belong to the migrations.
--
-- The password is APP_DB_PASSWORD, or the content of the file that APP_DB_PASSWORD_FILE names, or `itest`.
\set password itest
\getenv password APP_DB_PASSWORD
\getenv password_file APP_DB_PASSWORD_FILE
\if :{?password_file}
    \set password `cat "$APP_DB_PASSWORD_FILE"`
\endif

CREATE ROLE app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
