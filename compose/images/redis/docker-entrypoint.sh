#!/bin/sh
# Keeps the contract of the official redis image's entrypoint: flags or a *.conf alone mean redis-server, root becomes
# redis, and what the server writes is private.
set -eu

case "${1-}" in
-* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1-}" = redis-server ]; then
	if [ "$(id -u)" = 0 ]; then
		find . \! -user redis -exec chown redis '{}' +
		exec setpriv --reuid=redis --regid=redis --clear-groups -- "$0" "$@"
	fi
	umask 0077
	# Debian's server answers nobody but loopback as long as it has no password; the official image is built without
	# that default, because in a container a port is open only where somebody published it.
	case "${2-} $*" in
	*.conf* | *--protected-mode* | -v* | --version* | -h* | --help* | --test-memory* | --check-system*) ;;
	*) set -- "$@" --protected-mode no ;;
	esac
fi

exec "$@"
