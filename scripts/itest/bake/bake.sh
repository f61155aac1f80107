#!/usr/bin/env bash
# Starts PostgreSQL on data that was migrated and seeded when its image was baked. Runs wherever the official image's own
# entrypoint does: it needs bash, tar and what PostgreSQL brings.
#
#   bake.sh start <entrypoint…> -- <command…>   fill an empty data directory from the image, then become what follows
#   bake.sh hold <entrypoint…> <command…>       run what follows, and outlive it, so that `pack` can fetch its data
#   bake.sh pack                                stop the server and write its data directory, as tar, to standard output
set -Eeuo pipefail

BAKED=/usr/local/share/itest-bake # data.tar, and `passwords`: a line `VARIABLE ALTER ROLE … PASSWORD` for each role

main() {
	case $1 in
	start | hold | pack | fill) "$@" ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 64 ;;
	esac
}

start() {
	local entrypoint=()
	until [[ $1 == -- ]]; do
		entrypoint+=("$1")
		shift
	done
	shift
	if [[ ${1-} == postgres || ${1-} == -* ]] && [[ ! -s $PGDATA/PG_VERSION ]]; then
		trap 'exit 143' INT TERM # as process 1, a shell ignores both unless it handles them
		# Whatever is wrong with the bake, the image's own way to a database is still there; the data stage does the rest.
		as_postgres fill || forget
		trap - INT TERM
	fi
	exec "${entrypoint[@]}" "$@"
}

as_postgres() {
	if [[ $EUID != 0 ]]; then
		"$@"
		return
	fi
	mkdir -p "$PGDATA"
	chown postgres:postgres "$PGDATA"
	setpriv --reuid=postgres --regid=postgres --init-groups -- "$BASH" "${BASH_SOURCE[0]}" "$@"
}

# Chained, as bash doesn't stop at a failure where the caller asks whether there was one.
fill() {
	mkdir -p "$PGDATA" &&
		chmod 0700 "$PGDATA" &&
		tar --extract --file "$BAKED/data.tar" --directory "$PGDATA" &&
		set_passwords
}

# Before any server listens: nobody meets a role without its password.
set_passwords() {
	passwords | postgres --single -c exit_on_error=on -c log_min_error_statement=panic -c log_checkpoints=off \
		-c fsync=off -c full_page_writes=off -c shared_buffers=1MB -D "$PGDATA" template1 >/dev/null
}

passwords() {
	local variable statement password
	while read -r variable statement; do
		password=$(value_of "$variable")
		[[ -n $password ]] || fail "$variable is empty, and a role's password comes from it"
		printf "%s '%s'\n" "$statement" "${password//\'/\'\'}"
	done <"$BAKED/passwords"
}

# NAME_FILE names a file whose content is the value of NAME, as in the official image.
value_of() {
	local file=$1_FILE
	if [[ -n ${!file-} ]]; then cat "${!file}"; else printf %s "${!1-}"; fi
}

fail() {
	echo "itest bake: $*" >&2
	exit 1
}

forget() {
	echo 'itest bake: the baked data is of no use, starting without it' >&2
	find "$PGDATA" -mindepth 1 -delete
}

hold() {
	"$@"
	exec sleep infinity
}

pack() {
	[[ ! -L $PGDATA/pg_wal ]] || fail 'the write-ahead log lies outside of PGDATA (POSTGRES_INITDB_WALDIR)'
	[[ -z $(ls -A "$PGDATA/pg_tblspc") ]] || fail 'a tablespace lies outside of PGDATA'
	pg_ctl stop --silent --mode=fast --pgdata "$PGDATA" >&2
	# The log's old segments hold what nobody needs any more; a new one is nearly all zeros.
	pg_resetwal --pgdata "$PGDATA" >&2
	cd "$PGDATA"
	rm -rf postmaster.opts log/*
	local sparse=()
	# Zeros as a hole take neither time nor memory; not every tar knows holes.
	[[ $(tar --version 2>/dev/null) != *GNU* ]] || { sparse=(--sparse) && make_holes pg_wal/0*; }
	tar --create "${sparse[@]}" -- *
}

make_holes() {
	local file
	for file in "$@"; do
		cp --sparse=always --preserve=mode "$file" "$file.new"
		mv "$file.new" "$file"
	done
}

main "$@"
