-- The role that the application connects as. It is not a superuser, so that a missing GRANT fails in a test and not in
-- production. That is all that happens here: tables and their grants belong to the migrations.
--
-- The password is SHOP_DB_PASSWORD, or the content of the file that SHOP_DB_PASSWORD_FILE names, or `itest`.
\set password itest
\getenv password SHOP_DB_PASSWORD
\getenv password_file SHOP_DB_PASSWORD_FILE
\if :{?password_file}
    \set password `cat "$SHOP_DB_PASSWORD_FILE"`
\endif

CREATE ROLE shop LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
