#!/bin/sh
# Does what the suite asks of Kafka's kafka-topics.sh, with Lantern's own command.
set -eu
broker= do= topic= partitions=
configs=
while [ $# -gt 0 ]; do
    case $1 in
    --bootstrap-server) broker=$2; shift 2 ;;
    --create | --alter | --delete) do=$1; shift ;;
    --topic) topic=$2; shift 2 ;;
    --partitions) partitions=$2; shift 2 ;;
    --replication-factor) shift 2 ;;
    --config) configs="$configs --config $2"; shift 2 ;;
    *) echo "kafka-topics.sh: what is '$1'?" >&2; exit 2 ;;
    esac
done
case $do in
# Words, not one: no configuration here has spaces.
--create) exec "$LANTERN" topic create "$topic" --partitions "${partitions:-1}" $configs --broker "$broker" ;;
--alter) exec "$LANTERN" topic add-partitions "$topic" --total "$partitions" --broker "$broker" ;;
--delete) exec "$LANTERN" topic delete "$topic" --yes --broker "$broker" ;;
esac
