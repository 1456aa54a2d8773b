#!/bin/sh
# A fresh machine: Debian 12 with Rust and git, nothing else; runs `cargo xtask COMMAND` in a clone
# of HEAD. Called by `cargo xtask fresh` as
#
#   unshare --mount --pid --fork --kill-child sh fresh.sh DIR REPO RUST OWNER PACKAGES -- COMMAND...
#
#   DIR       where the machine is made; DIR/debian-12 is the base, kept for the next time
#   REPO      the repository; its HEAD is cloned
#   RUST      the Rust to use (`rustc --print sysroot`), bind-mounted read-only
#   OWNER     root, or user: who runs the command
#   PACKAGES  Debian packages to install first, separated by commas; may be empty
#
# Never run it outside namespaces of its own: it leaves the unmounting to their end.
set -eu

dir=$1 repo=$2 rust=$3 owner=$4 packages=$5
shift 6
base=$dir/debian-12
machine=$dir/machine
say() { echo "fresh: $*"; }

# A Ctrl-C reaches us as the end of the namespace (--kill-child); nothing to trap.

if [ ! -d "$base" ]; then
    say "making a Debian 12 (debootstrap, about a minute)"
    rm -rf "$base.part"
    # A mirror of your own goes into DEBIAN_MIRROR; git and certificates are what Rust and the
    # clone need, the rest is Debian's smallest system.
    if ! debootstrap --variant=minbase --include=ca-certificates,git bookworm "$base.part" \
        ${DEBIAN_MIRROR:-} >"$dir/debootstrap.log" 2>&1; then
        tail -n 3 "$dir/debootstrap.log"
        say "debootstrap failed; its output is in $dir/debootstrap.log"
        exit 1
    fi
    mv "$base.part" "$base"
fi

say "a new machine in $machine"
cp -a "$base" "$machine"
# `ip netns exec` wants its root to be a mount point.
mount --bind "$machine" "$machine"

# The way to the registries is the host's: names, and certificates that it trusts beyond Debian's.
cp /etc/resolv.conf /etc/hosts "$machine/etc/"
for ca in /usr/local/share/ca-certificates/*.crt; do
    if [ -e "$ca" ]; then cp "$ca" "$machine/usr/local/share/ca-certificates/"; fi
done
chroot "$machine" update-ca-certificates >/dev/null 2>&1

# Kernel file systems, and the few devices that a machine has.
mount -t proc proc "$machine/proc"
mount -t sysfs sysfs "$machine/sys"
mount -t tmpfs -o mode=755 dev "$machine/dev"
mkdir "$machine/dev/net" "$machine/dev/shm" "$machine/dev/pts"
mount -t tmpfs -o mode=1777 shm "$machine/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$machine/dev/pts"
ln -s pts/ptmx "$machine/dev/ptmx"
ln -s /proc/self/fd "$machine/dev/fd"
node() { mknod -m "$2" "$machine/dev/$1" c "$3" "$4"; }
node null 666 1 3
node zero 666 1 5
node full 666 1 7
node random 666 1 8
node urandom 666 1 9
node tty 666 5 0
node net/tun 600 10 200

mkdir -p "$machine/usr/local/rust"
mount --bind "$rust" "$machine/usr/local/rust"
mount -o remount,bind,ro "$machine/usr/local/rust"

inside() { chroot "$machine" env "$@"; }
if [ -n "$packages" ]; then
    say "installing $packages"
    list=$(echo "$packages" | tr ',' ' ')
    # shellcheck disable=SC2086
    inside DEBIAN_FRONTEND=noninteractive sh -c 'apt-get -qq update && apt-get -qq --yes install --no-install-recommends "$@"' \
        apt $list >"$dir/packages.log" 2>&1 || { tail -n 3 "$dir/packages.log"; exit 1; }
fi

home=/var/lib/fresh
inside useradd --create-home --home-dir "$home" --shell /bin/sh fresh
as=""
if [ "$owner" = user ]; then as="setpriv --reuid fresh --regid fresh --clear-groups"; fi
mkdir "$machine$home/.cargo"
if [ -n "${FRESH_CARGO_CONFIG:-}" ]; then cp "$FRESH_CARGO_CONFIG" "$machine$home/.cargo/config.toml"; fi
inside chown -R fresh "$home"
if [ "$owner" = root ]; then inside chown -R root "$home"; fi

path=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# shellcheck disable=SC2086
run() { inside HOME="$home" PATH="$path" $as "$@"; }
# One file with everything that HEAD needs: REPO may be a worktree, whose history lies elsewhere, and it
# belongs to whoever works on it, whom git distrusts unless told not to.
git -c safe.directory='*' -C "$repo" bundle create --quiet "$machine/head.bundle" HEAD
run git -c advice.detachedHead=false clone --quiet /head.bundle "$home/chimney"
rm "$machine/head.bundle"
say "commit $(run git -C "$home/chimney" log -1 --format=%h), $(run rustc --version), as $owner"
say "tools before: $(for tool in cc g++ verilator ip ethtool python3 tshark; do
    run sh -c "command -v $tool" >/dev/null && printf '%s ' "$tool" || printf 'no-%s ' "$tool"
done)"

started=$(date +%s)
result=0
run sh -c 'cd "$HOME/chimney" && exec cargo xtask "$@"' sh "$@" || result=$?
say "cargo xtask $*: exit status $result after $(($(date +%s) - started)) s"

# What the demo leaves behind is worth keeping.
for file in result.json wire.pcapng; do
    if [ -e "$machine$home/chimney/target/demo/$file" ]; then
        mkdir -p "$dir/demo"
        cp "$machine$home/chimney/target/demo/$file" "$dir/demo/"
    fi
done
exit $result
