#!/bin/sh
# What the entrypoint of the official image of PostgreSQL does with its variables, in short, for Debian's programs: as
# root it makes the folder and becomes the user postgres; the first time it makes the cluster, its user and database.
set -eu
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)
export PATH
data=${PGDATA:-/var/lib/postgresql/data}
POSTGRES_PASSWORD=${POSTGRES_PASSWORD:-$(cat "$POSTGRES_PASSWORD_FILE")}
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$data"
	chown postgres "$data" /var/run/postgresql
	chmod 700 "$data"
	export POSTGRES_PASSWORD
	# A user other than root keeps none of the rights.
	exec setpriv --pdeathsig KILL --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
mkdir -p "$data"
chmod 700 "$data"
if [ ! -s "$data/PG_VERSION" ]; then
	printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
	# shellcheck disable=SC2086 # several arguments in one variable, as the image takes them
	initdb -D "$data" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
	rm /tmp/password
	echo "listen_addresses = '*'" >>"$data/postgresql.conf"
	echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
	pg_ctl -D "$data" -w start -o "-c listen_addresses= -k /var/run/postgresql"
	createdb -h /var/run/postgresql -U "$POSTGRES_USER" "$POSTGRES_DB"
	pg_ctl -D "$data" -w stop -m fast
fi
unset POSTGRES_PASSWORD
export PGDATA="$data"
exec "$@"
