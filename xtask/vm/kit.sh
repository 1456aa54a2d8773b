#!/bin/sh
# Makes the kit for a guest from Debian's packages: QEMU, a stock kernel with its VFIO modules, busybox. Needs apt-get, dpkg-deb
# and the network; not root, and nothing of this machine is changed: apt works in folders of its own, and the packages are
# unpacked, not installed.
#
#   sh kit.sh DIR MODULE ...
#
# DIR/root     QEMU from the backports of Debian 13 (10.1 or newer has vfio-user-pci) and the libraries that it needs
# DIR/vmlinuz  the kernel that Debian ships for clouds
# DIR/mod      its modules of these names (drivers/vfio/vfio), in the form that insmod takes
# DIR/busybox  statically linked
set -eu
dir=$1
root=$dir/root
apt=$dir/apt
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keys=/usr/share/keyrings/debian-archive-keyring.gpg
shift

rm -rf "$dir"
mkdir -p "$dir/mod" "$root" "$apt/lists/partial" "$apt/archives/partial" "$apt/preferences"
# With no package installed, apt fetches everything that QEMU depends on. Its other settings (proxies, mirrors) are this machine's.
: >"$apt/status"
{
    echo "deb [signed-by=$keys] $mirror trixie main"
    echo "deb [signed-by=$keys] $mirror trixie-backports main"
} >"$apt/sources.list"
call() {
    tool=$1
    shift
    "$tool" -q -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::Retries=3 -o Acquire::Languages=none -o Debug::NoLocking=true \
        -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" \
        -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives" -o Dir::Etc::sourcelist="$apt/sources.list" \
        -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts="$apt/preferences" -o Dir::Etc::preferences=- "$@"
}
get() {
    call apt-get "$@" >>"$dir/apt.log" 2>&1 || {
        tail -n 3 "$dir/apt.log"
        exit 1
    }
}
echo 'lists of packages'
get update
kernel=$(call apt-cache search --names-only '^linux-image-6\.12\..*cloud-amd64$' | cut -d' ' -f1 | sort -V | tail -n 1)
[ -n "$kernel" ] || {
    echo 'no kernel package linux-image-6.12.*-cloud-amd64'
    exit 1
}
echo "QEMU and $kernel"
# -t: QEMU depends on the firmware of the backports, which pinning alone does not choose.
get install --download-only --yes --no-install-recommends -t trixie-backports qemu-system-x86 seabios busybox-static
(cd "$apt/archives" && get download "$kernel")
for package in "$apt"/archives/*.deb; do
    case ${package##*/} in
    linux-image-*) dpkg-deb -x "$package" "$dir/kernel" ;;
    qemu-system-x86_*) dpkg-deb -x "$package" "$root" && version=$(dpkg-deb -f "$package" Version) ;;
    *) dpkg-deb -x "$package" "$root" ;;
    esac
done
mv "$root/usr/bin/busybox" "$dir/busybox"
cp "$dir/kernel/boot/vmlinuz-${kernel#linux-image-}" "$dir/vmlinuz"
for module in "$@"; do
    "$dir/busybox" xz -dc <"$dir/kernel/usr/lib/modules/${kernel#linux-image-}/kernel/$module.ko.xz" \
        >"$dir/mod/$(basename "$module").ko"
done
rm -rf "$apt" "$dir/kernel" "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale
echo "$kernel, qemu-system-x86 $version" >"$dir/versions.txt"
cat "$dir/versions.txt"
