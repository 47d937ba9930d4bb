#!/usr/bin/env bash
# Exits with 0 if a model answers a request, with 1 if it does not.
#
#   ready.sh HOST PORT MODEL REQUEST
#   ready.sh localhost 8501 movies '{"inputs": {"user_id": ["probe"]}}'
#
# Needs bash alone, because the image of TF Serving has neither curl nor Python.
set -u
LC_ALL=C # Lengths are those of bytes.
host=$1 port=$2 model=$3 request=$4

exec 3<>"/dev/tcp/$host/$port" || exit 1
printf '%s\r\n' \
    "POST /v1/models/$model:predict HTTP/1.1" \
    "Host: $host" \
    "Content-Type: application/json" \
    "Content-Length: ${#request}" \
    "Connection: close" \
    "" >&3
printf '%s' "$request" >&3
read -r -t 5 _ code _ <&3
[[ ${code:-} == 200 ]]
