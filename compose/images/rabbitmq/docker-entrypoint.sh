#!/usr/bin/env bash
# Keeps the contract of the official rabbitmq image's entrypoint. RabbitMQ itself reads RABBITMQ_DEFAULT_USER,
# RABBITMQ_DEFAULT_PASS and RABBITMQ_DEFAULT_VHOST.
#
#   docker-entrypoint.sh [rabbitmq-server]      give root up, then become the server
#   docker-entrypoint.sh <any other command>    become that
set -Eeuo pipefail

main() {
	[[ ${1-} != rabbitmq* || $EUID != 0 ]] || become_rabbitmq "$@"
	refuse_what_is_gone
	[[ ${1-} != rabbitmq-server ]] || set_server_flags
	exec "$@"
}

become_rabbitmq() {
	[[ $1 != rabbitmq-server ]] || find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq:rabbitmq '{}' +
	exec setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups -- "${BASH_SOURCE[0]}" "$@"
}

# The official image no longer knows them and says so, lest a broker runs with another password than somebody meant.
refuse_what_is_gone() {
	local name gone=()
	for name in RABBITMQ_DEFAULT_{PASS,USER}_FILE RABBITMQ_VM_MEMORY_HIGH_WATERMARK \
		RABBITMQ_{,MANAGEMENT_}SSL_{CACERTFILE,CERTFILE,DEPTH,FAIL_IF_NO_PEER_CERT,KEYFILE,VERIFY}; do
		[[ -z ${!name-} ]] || gone+=("$name")
	done
	((${#gone[@]} == 0)) || {
		printf 'error: %s is set but deprecated\n' "${gone[@]}" >&2
		echo 'Please use a configuration file instead: https://www.rabbitmq.com/docs/configure' >&2
		exit 1
	}
}

set_server_flags() {
	# The official image says these two in a file of /etc/rabbitmq/conf.d: guest may come from anywhere, the log goes to
	# standard output. Any such file makes RabbitMQ read the schemas of all its settings first, half a second.
	export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-rabbit loopback_users [] ${RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS-}"
	export RABBITMQ_LOGS=${RABBITMQ_LOGS:--}
	# A host name with a dot in it makes a node name that only Erlang's long names allow.
	[[ $(hostname) != *.* ]] || export RABBITMQ_USE_LONGNAME=${RABBITMQ_USE_LONGNAME:-true}
}

main "$@"
