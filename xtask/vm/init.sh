#!/bin/busybox sh
# The first and only process of the guest: binds the NIC to vfio-pci, runs the checks on it, and switches the machine off. A line
# for each check: PASS or FAIL, what, and why; behind the word OUTCOME the outcomes of one whole list as JSON. The last line is
# "END". The kernel's command line has the variables kill_ms and unbind_ms (how long after its first bytes a driver is killed, or
# its function unbound) and only (a part of the names of the parts that run); or job, which is done in place of all that.
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
echo 'root:x:0:0::/:/bin/sh
user:x:1000:1000::/:/bin/sh' >/etc/passwd
pci=/sys/bus/pci
out=/check.txt

verdict() { # PASS or FAIL from the status of the last command, what, and the end of what it printed
    if [ "$1" = 0 ]; then echo "PASS $2"; else echo "FAIL $2: $(tail -n 1 $out)"; fi
}
says() { # what, a word that the output has
    grep -q -e "$2" $out
    verdict $? "$1"
}
list() { # the whole list; its lines get a name in front
    name=$1
    shift
    "$@" >$out 2>&1
    status=$?
    sed -n "s/^\(PASS\|FAIL\) /\1 $name: /p" $out
    [ $status = 0 ] || grep -q '^FAIL' $out || verdict $status "$name"
}
part() { # a name: whether it is to run
    case $1 in *"$only"*) true ;; *) false ;; esac
}
endless() { # milliseconds: a driver that works; returns so long after its first bytes were back. Its process is $pid
    chimney-check --vfio $bdf --endless >$out 2>&1 &
    pid=$!
    until grep -q '^working' $out || ! kill -0 $pid 2>/dev/null; do usleep 20000; done
    usleep $(($1 * 1000))
}
uptime_ms() { sed 's/ .*//; s/\.//; s/$/0/' /proc/uptime; }
bind() { # a function
    echo vfio-pci >$pci/devices/$1/driver_override
    echo $1 >$pci/drivers_probe
}

for module in $(cat /mod/order); do
    insmod $module || echo "FAIL module $module"
done
nics=
for device in $pci/devices/*; do
    [ "$(cat $device/vendor)$(cat $device/device)" = 0x12340x4843 ] && nics="$nics ${device##*/}"
done
set -- $nics
bdf=$1 first=$2 second=$3

# Driver and host stack of the demo, and nothing else. It speaks with whoever ordered the job over this console.
if [ -n "$job" ]; then
    dmesg -n 1
    echo 64 >/proc/sys/vm/nr_hugepages
    bind $bdf
    chimney-check --vfio $bdf --job $job
    echo o >/proc/sysrq-trigger
    sleep 10
fi

# Where the first NIC is asked for its counters without a look at its registers.
port=/dev/ttyS1
stty -F $port raw -echo min 0 time 200 && chown user $port
verdict $? 'the NIC can be asked for its counters'
[ -n "$bdf" ]
verdict $? 'the kernel finds the function'

chimney-check --vfio $bdf >$out 2>&1
says 'a function that is not bound says what to do' driver_override
bind $bdf
group=$(readlink $pci/devices/$bdf/iommu_group)
group=/dev/vfio/${group##*/}
[ -c $group ]
verdict $? 'vfio-pci takes it, in a group'

exec 9<>$group
chimney-check --vfio $bdf >$out 2>&1
says 'a group that is open says so' 'is in use'
exec 9>&-
su user -c "chimney-check --vfio $bdf" >$out 2>&1
says 'a file that may not be opened says so' "chown USER $group"
chown user $group
ulimit -l 8192
su user -c "chimney-check --vfio $bdf" >$out 2>&1
says 'a limit of locked memory says so' LimitMEMLOCK
ulimit -l unlimited

# A driver is killed in the middle of a transfer; what follows finds a device in order. Pages of 4 KiB: there are no others yet.
if part kill; then
    endless $kill_ms
    kill -9 $pid
    wait $pid
    [ $? = 137 ]
    verdict $? "a driver is killed in the middle of a transfer, $kill_ms ms after its first bytes"
    list 'small pages, not root, after kill -9' su user -c "chimney-check --vfio $bdf --counters $port"
fi

echo 64 >/proc/sys/vm/nr_hugepages
if part huge; then
    least=64
    chimney-check --vfio $bdf --counters $port --report /huge.json >/huge.txt 2>&1 &
    while kill -0 $! 2>/dev/null; do
        free=$(sed -n 's/HugePages_Free: *//p' /proc/meminfo)
        [ "$free" -lt $least ] && least=$free
        usleep 50000
    done
    list 'huge pages' cat /huge.txt
    sed 's/^/OUTCOME /' /huge.json
    [ $least -lt 60 ]
    verdict $? 'huge pages are used'
fi

# Somebody wants the function back while a driver has it.
if part unbind; then
    endless $unbind_ms
    start=$(uptime_ms)
    echo $bdf >$pci/drivers/vfio-pci/unbind
    took=$(($(uptime_ms) - start))
    wait $pid
    [ $took -le 2000 ]
    verdict $? "unbind in the middle of a transfer, $unbind_ms ms after its first bytes, waits at most 2 s ($took ms)"
    says 'the driver hears of it' 'wanted back'
    bind $bdf
    list 'after unbind' chimney-check --vfio $bdf --counters $port --only offload
fi

# Two NICs on one network, if they are there: the first one's process is killed by whoever reads this console.
if [ -n "$second" ] && part two; then
    bind $first
    bind $second
    chimney-check --vfio $first --spare $second >$out 2>&1 &
    until grep -q '^working' $out || ! kill -0 $! 2>/dev/null; do usleep 20000; done
    echo 'KILL the first of two NICs'
    # To close the dead one takes the kernel a minute more; nobody waits for that.
    until grep -q '^PASS\|^FAIL\|^error' $out || ! kill -0 $! 2>/dev/null; do usleep 100000; done
    grep '^PASS' $out || verdict 1 'every connection survives the loss of its NIC'
fi

dmesg | grep 'Kernel panic\|Oops\|BUG:\|WARNING:' >$out && echo "FAIL the kernel complains: $(head -n 1 $out)"
echo END
echo o >/proc/sysrq-trigger
sleep 10
