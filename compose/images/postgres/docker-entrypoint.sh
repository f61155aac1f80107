#!/usr/bin/env bash
# Keeps the contract of the official postgres image's entrypoint, written for a fast start: an empty data directory is
# filled from the template in the image, unless the environment asks for a cluster that initdb has to make.
#
#   docker-entrypoint.sh [postgres] [flag…]     initialise if need be, then become the server
#   docker-entrypoint.sh <any other command>    become that
set -Eeuo pipefail

TEMPLATE=/usr/local/share/postgresql/template.tar
INIT_FOLDER=/docker-entrypoint-initdb.d

main() {
	[[ ${1-} != -* ]] || set -- postgres "$@"
	if [[ ${1-} == postgres ]] && ! only_asks "$@"; then
		[[ $EUID != 0 ]] || become_postgres "$@"
		# As process 1, a shell ignores both unless it handles them.
		trap 'exit 143' INT TERM
		if [[ -s $PGDATA/PG_VERSION ]]; then
			echo 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
		else
			initialise "$@"
			echo 'PostgreSQL init process complete; ready for start up.'
		fi
	fi
	exec "$@"
}

initialise() {
	read_settings
	create_cluster
	start_private_server "$@"
	set_up_database
	run_init_folder
	stop_private_server
}

fail() {
	printf 'Error: %s\n' "$@" >&2
	exit 1
}

# `postgres --version` and its like need no data directory.
only_asks() {
	local argument
	for argument in "$@"; do
		case $argument in
		-'?' | --help | --describe-config | -V | --version | -C | --single | --boot | --check) return 0 ;;
		esac
	done
	return 1
}

# Root prepares the folders, then is postgres for good.
become_postgres() {
	mkdir -p "$PGDATA" /run/postgresql
	chmod 0700 "$PGDATA"
	chmod 3777 /run/postgresql
	find "$PGDATA" /run/postgresql \! -user postgres -exec chown postgres:postgres '{}' +
	exec setpriv --reuid=postgres --regid=postgres --init-groups -- "${BASH_SOURCE[0]}" "$@"
}

read_settings() {
	local name
	for name in POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS; do
		read_from_file "$name"
	done
	export POSTGRES_PASSWORD=${POSTGRES_PASSWORD-} POSTGRES_USER=${POSTGRES_USER:-postgres}
	export POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER} POSTGRES_HOST_AUTH_METHOD=${POSTGRES_HOST_AUTH_METHOD-}
	[[ ! -e $INIT_FOLDER || (-r $INIT_FOLDER && -x $INIT_FOLDER) ]] ||
		fail "user $EUID cannot read $INIT_FOLDER: chmod a+rx the folder that is mounted there"
	if [[ -z $POSTGRES_PASSWORD && $POSTGRES_HOST_AUTH_METHOD != trust ]]; then
		fail 'Database is uninitialized and superuser password is not specified.' \
			'Set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE (or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in).'
	fi
}

# NAME_FILE names a file whose content is the value of NAME: how secrets are handed over.
read_from_file() {
	local name=$1 file=$1_FILE
	[[ -n ${!file-} ]] || return 0
	[[ -z ${!name-} ]] || fail "both $name and $file are set (but are exclusive)"
	[[ -r ${!file} ]] || fail "$file: user $EUID cannot read ${!file}"
	export "$name=$(<"${!file}")"
	unset "$file"
}

create_cluster() {
	mkdir -p "$PGDATA"
	if wants_template; then
		tar --extract --file "$TEMPLATE" --touch --directory "$PGDATA"
	else
		# The arguments are a piece of shell in the official image too: POSTGRES_INITDB_ARGS="--locale='de_DE.utf8'".
		eval "set -- ${POSTGRES_INITDB_ARGS-}"
		initdb --no-sync --username="$POSTGRES_USER" ${POSTGRES_PASSWORD:+--pwfile=<(echo "$POSTGRES_PASSWORD")} \
			${POSTGRES_INITDB_WALDIR:+--waldir="$POSTGRES_INITDB_WALDIR"} "$@"
	fi
	chmod 0700 "$PGDATA"
	printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
}

# The template is what initdb makes of this user, this locale and this time zone when nobody asks for more.
wants_template() {
	[[ $POSTGRES_USER == postgres && ${LANG-} == en_US.utf8 ]] &&
		[[ -z ${POSTGRES_INITDB_ARGS-}${POSTGRES_INITDB_WALDIR-}${LC_ALL-}${LC_COLLATE-}${LC_CTYPE-}${TZ-} ]]
}

# The server that initialises listens on the unix socket alone: an open TCP port means "initialised".
# Until then there is nothing worth waiting for the disk; stop_private_server syncs once, at the end.
start_private_server() {
	local status=()
	"$@" -c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off &
	SERVER=$!
	# Line 8 of postmaster.pid is the server's state. pg_ctl reads it too, but only ten times a second.
	until [[ ${status[7]-} == ready* ]]; do
		kill -0 "$SERVER" 2>/dev/null || fail 'the server exited before the initialisation'
		sleep 0.005
		[[ ! -s $PGDATA/postmaster.pid ]] || mapfile -t status <"$PGDATA/postmaster.pid"
	done
	export PGPASSWORD=${PGPASSWORD-$POSTGRES_PASSWORD}
}

stop_private_server() {
	unset PGPASSWORD
	kill -INT "$SERVER"
	wait "$SERVER"
	sync --file-system "$PGDATA"
}

# sql <database> [psql argument…]: run statements as the superuser over the unix socket, up to the first error.
sql() {
	PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc \
		--username "$POSTGRES_USER" --dbname "$@"
}

set_up_database() {
	sql postgres --quiet <<-'SQL'
		\getenv user POSTGRES_USER
		\getenv password POSTGRES_PASSWORD
		\getenv db POSTGRES_DB
		SELECT :'password' <> '' AS has_password,
		       NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db') AS wants_db \gset
		\if :has_password
		    ALTER ROLE :"user" PASSWORD :'password';
		\endif
		\if :wants_db
		    CREATE DATABASE :"db" STRATEGY file_copy;
		\endif
	SQL
}

run_init_folder() {
	local file
	for file in "$INIT_FOLDER"/*; do
		case $file in
		*.sh)
			if [[ -x $file ]]; then
				echo "$0: running $file" && "$file"
			else
				echo "$0: sourcing $file" && . "$file"
			fi
			;;
		*.sql) echo "$0: running $file" && sql "$POSTGRES_DB" --file "$file" ;;
		*.sql.gz) echo "$0: running $file" && gunzip -c "$file" | sql "$POSTGRES_DB" ;;
		*.sql.xz) echo "$0: running $file" && xzcat "$file" | sql "$POSTGRES_DB" ;;
		*.sql.zst) echo "$0: running $file" && zstd -dc "$file" | sql "$POSTGRES_DB" ;;
		"$INIT_FOLDER/*") ;;
		*) echo "$0: ignoring $file" ;;
		esac
	done
}

main "$@"
