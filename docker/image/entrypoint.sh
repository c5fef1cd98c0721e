#!/bin/sh
# What the container runs: a pybroker command (serve, health, topic, ...), or any other program that is named.
set -eu

# As in Kafka's own image: without KAFKA_LISTENERS the broker listens on what it advertises, on every address.
if [ -z "${KAFKA_LISTENERS:-}" ] && [ -n "${KAFKA_ADVERTISED_LISTENERS:-}" ]; then
    KAFKA_LISTENERS=$(printf '%s' "$KAFKA_ADVERTISED_LISTENERS" | sed 's#://\(\[[^]]*\]\|[^],:]*\):#://0.0.0.0:#g')
    export KAFKA_LISTENERS
fi

case "${1:-serve}" in
    sh | bash | python | python3 | /*) exec "$@" ;;
    *) exec pybroker "$@" ;;
esac
