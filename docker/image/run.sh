#!/bin/sh
# Where Kafka's own image has its start script: test libraries that write a script around it call it by this name.
exec pybroker-entrypoint serve
