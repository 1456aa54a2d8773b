#!/bin/sh
# A Linux peer for several NICs: a network namespace with a bridge and the echo service (RFC 862) on it. Needs root, ip and python3.
#
#   sh peer.sh NAMESPACE NIC ...
#
# Says READY when devices can make TAPs of these names there (`ip netns exec NAMESPACE chimney device --wire tap:NIC`), puts each on
# the bridge as soon as it is there, and removes everything when standard input ends, however its other end died.
#
# The echo service is no `socat PIPE`: that blocks for ever when more comes in than its pipe holds while its answers wait, as they do
# when a NIC dies.
set -eu
name=$1
shift
trap '' INT TERM HUP
ip netns add "$name"
ip -n "$name" link set dev lo up
ip -n "$name" link add dev bridge type bridge
ip netns exec "$name" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/bridge/disable_ipv6' 2>/dev/null || true
ip -n "$name" addr add 10.85.0.1/24 dev bridge
ip -n "$name" link set dev bridge up
ip netns exec "$name" python3 -c '
import socketserver

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

Server(("", 7), Echo).serve_forever()' &
echo READY
{
    for nic in "$@"; do
        until ip -n "$name" link set dev "$nic" master bridge up 2>/dev/null; do sleep 0.05; done
    done
} &
joining=$!
cat >/dev/null
kill $joining 2>/dev/null || true
for round in 1 2 3; do
    pids=$(ip netns pids "$name") && [ -n "$pids" ] && kill -9 $pids || true
done
ip netns delete "$name"
