#!/bin/sh
# Listens and hands each connection to echo-handler.sh. PORT: where (8080). LISTEN: on which address (all).
exec tcpsvd -c 250 -b 250 -l localhost "${LISTEN:-0.0.0.0}" "${PORT:-8080}" /bin/sh /usr/lib/localk8s/echo-handler.sh
