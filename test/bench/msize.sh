#!/usr/bin/env bash
# Measures the msize of a 9p mount on a guest of the lab: how fast each size is, and
# what each still does when the guest's memory is fragmented. Prints markdown; the
# decision that rests on it is docs/decisions/0007-msize.md.
#
#   bash test/bench/msize.sh [ROUNDS [TRIES]]     5 of each by default; some 4 minutes, 16 at most
#
# It makes the domain v9p-msize and the directory /srv/v9p-msize, and removes both.
# The guest's kernel is the newest of the lab's mirror: VIRTIO9P_LAB_MIRROR together
# with a VIRTIO9P_LAB_CACHE of its own gives another.
set -euo pipefail
cd "$(dirname "$0")/../.."

guest=v9p-msize
home=/srv/v9p-msize
tag=v9pmsize
# MiB: little, so that it is fragmented in seconds. The kernel itself takes 40 of it.
memory=128
sizes="8192 131072 262144 512000"
rounds=${1:-5}
tries=${2:-5}
entries=2000
# Seconds that one part in the guest may take.
export VIRTIO9P_LAB_EXEC_DEADLINE=240

if [[ ! $rounds =~ ^[1-9][0-9]?$ || ! $tries =~ ^[1-9][0-9]?$ ]]; then
  echo "usage: bash test/bench/msize.sh [ROUNDS [TRIES]]" >&2
  exit 2
fi
as_root() { if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi; }
vsh() { as_root env LC_ALL=C virsh --quiet --connect qemu:///system "$@"; }
say() { printf 'msize: %s\n' "$*" >&2; }

if [[ -e $home ]]; then
  echo "$home is there already: remove it if it is left from an earlier run" >&2
  exit 1
fi
work=$(mktemp -d)
finish() {
  test/lab/lab remove "$guest" >/dev/null 2>&1 || :
  as_root rm -rf -- "$home"
  rm -rf -- "$work"
}
trap finish EXIT

# QEMU's user, by its name on Debian and on Fedora: a mapped share belongs to it.
owner=root
for name in libvirt-qemu qemu; do
  if id -u "$name" >/dev/null 2>&1; then
    owner=$name
    break
  fi
done
as_root install -d -m 700 -o "$owner" -- "$home" "$home/many"
seq -f "$home/many/an-entry-with-a-name-of-common-length-%g" "$entries" | as_root xargs touch --
as_root dd if=/dev/urandom of="$home/big" bs=1M count=64 status=none
as_root chown -R -- "$owner" "$home"

test/lab/lab define "$guest" small --memory "$memory" >/dev/null
cat >"$work/device.xml" <<XML
<filesystem type='mount' accessmode='mapped'><source dir='$home'/><target dir='$tag'/></filesystem>
XML
vsh attach-device "$guest" "$work/device.xml" --config >/dev/null
test/lab/lab boot "$guest" >/dev/null

# What every script in the guest begins with.
prelude() {
  printf 'sizes="%s" rounds=%s tries=%s entries=%s tag=%s\n' "$sizes" "$rounds" "$tries" "$entries" "$tag"
  cat <<'GUEST'
share=/mnt/share
mkdir -p $share
modprobe 9p && modprobe 9pnet_virtio || exit 1
attach() { mount -t 9p -o trans=virtio,version=9p2000.L,msize=$1 $tag $share; }
# The sizes, begun with another one each time: none is always first or last.
turned() { echo $sizes | awk -v by="$1" '{ for (i = 0; i < NF; i++) print $((i + by) % NF + 1) }'; }
GUEST
}

# Lines "OPERATION BLOCK MSIZE ROUND NANOSECONDS", of 64 MiB each. This busybox's dd
# tells no time; the kernel's own clock is read instead.
speed() {
  prelude
  cat <<'GUEST'
now() { sed -n 's/^now at \([0-9]*\) nsecs/\1/p' /proc/timer_list; }
# timed OPERATION BLOCK MSIZE ROUND DD-ARGUMENTS...
timed() {
  line="$1 $2 $3 $4"
  block=$2
  shift 4
  echo 3 >/proc/sys/vm/drop_caches
  began=$(now)
  dd bs=$block "$@" 2>/dev/null || exit 1
  echo "$line $(($(now) - began))"
}
for round in $(seq $rounds); do
  for msize in $(turned $round); do
    attach $msize || exit 1
    timed read 1M $msize $round if=$share/big of=/dev/null
    timed read 64k $msize $round if=$share/big of=/dev/null
    timed write 1M $msize $round if=/dev/zero of=$share/out count=64
    timed write 64k $msize $round if=/dev/zero of=$share/out count=1024
    umount $share
  done
done
GUEST
}

# fragment KIND ORDER: fills the guest's memory with two files written 4 KiB of each in
# turn, until no free block of ORDER or more is left, and deletes one of the two: half
# of it is free then, page by page. On tmpfs the kernel can move the pages that stay and
# so join the free ones ("compaction"); on ramfs it cannot, as with memory that the
# kernel took for itself. Then tries each msize in turn. Lines of three sorts:
#   "free WHEN COUNTS", of blocks of order 0 to 10, all zones together;
#   "try MSIZE MOUNT LIST READ WRITE", each 1 or 0; "said MSIZE TEXT", from the kernel.
fragment() {
  prelude
  printf 'kind=%s order=%s\n' "$1" "$2"
  cat <<'GUEST'
full=/mnt/full
mkdir -p $full
options=
[ $kind = ramfs ] || options='-o size=99%'
mount -t $kind $options full $full || exit 1
free_blocks() { awk '{ for (i = 0; i < 11; i++) n[i] += $(i + 5) } END { for (i = 0; i < 11; i++) printf " %d", n[i]; print "" }' /proc/buddyinfo; }
large_blocks() { awk -v from=$order '{ for (i = from; i < 11; i++) n += $(i + 5) } END { print n + 0 }' /proc/buddyinfo; }
free_kib() { sed -n 's/^MemFree: *\([0-9]*\).*/\1/p' /proc/meminfo; }
echo 3 >/proc/sys/vm/drop_caches
echo "free before$(free_blocks)"
# The last megabyte and the lowest 16 MiB are otherwise kept back.
reserve=$(cat /proc/sys/vm/min_free_kbytes)
echo 200 >/proc/sys/vm/min_free_kbytes
echo 0 0 0 0 >/proc/sys/vm/lowmem_reserve_ratio
# If memory runs out, these processes are to go, and not the agent.
(
  echo 1000 >/proc/self/oom_score_adj
  while [ $(large_blocks) -gt 0 ] && [ $(free_kib) -gt 700 ]; do
    count=16
    [ $(free_kib) -lt 8000 ] || count=64
    dd if=/dev/zero bs=4096 count=$count 2>/dev/null | tee -a $full/stays >>$full/goes || exit 1
  done
)
rm $full/goes
echo $reserve >/proc/sys/vm/min_free_kbytes
echo "free after$(free_blocks)"
for try in $(seq $tries); do
  # Pressure of the page cache.
  find / -xdev -type f -exec cat {} + >/dev/null
  for msize in $(turned $try); do
    mounted=0 listed=0 read=0 written=0
    dmesg -c >/dev/null
    if attach $msize 2>/tmp/error; then
      mounted=1
      # Counted: busybox's ls ends with 0 and prints nothing when the kernel says ENOMEM.
      [ "$(ls $share/many | wc -l)" != $entries ] || listed=1
      dd if=$share/big of=/dev/null bs=1M count=8 2>/tmp/error && read=1
      dd if=/dev/zero of=$share/out bs=1M count=8 2>/tmp/error && written=1
      umount $share
    else
      echo "said $msize $(tail -n 1 /tmp/error)"
    fi
    echo "try $msize $mounted $listed $read $written"
    dmesg | sed -n "s/^\[[^]]*\] *\(.*page allocation failure: order:[0-9]*, mode:[^ ,]*\).*/said $msize \1/p" | head -n 1
  done
done
echo "free last$(free_blocks)"
umount $full
GUEST
}

table() { printf '| %s |\n' "$(printf '%s' "$*" | sed 's/;/ |/g')"; }

say "$rounds rounds of 64 MiB, four transfers for each of $sizes"
speed | test/lab/lab exec "$guest" >"$work/speed"
printf 'Kernel %s, %s MiB, %s; %s rounds, %s tries.\n\n' "$(test/lab/lab exec "$guest" -- 'uname -r; uname -v | sed "s/.*Debian /Debian /"' | paste -sd ' ')" \
  "$memory" "$(vsh dumpxml "$guest" | sed -n "s/^<domain type='\([a-z]*\)'.*/\1/p")" "$rounds" "$tries"
table "msize; read, bs=1M; read, bs=64k; write, bs=1M; write, bs=64k"
table "---; ---; ---; ---; ---"
# The median over the rounds of each size's speed in proportion to that of 131072 in
# the same round, and in brackets the least and the most.
awk -v sizes="$sizes" '
  { took[$1, $2, $3, $4] = $5; if ($4 > rounds) rounds = $4 }
  END {
    of = split(sizes, size, " ")
    split("read 1M,read 64k,write 1M,write 64k", column, ",")
    for (s = 1; s <= of; s++) {
      printf "| %s |", size[s]
      for (c = 1; c <= 4; c++) {
        split(column[c], key, " ")
        for (r = 1; r <= rounds; r++) {
          ratio = took[key[1], key[2], 131072, r] / took[key[1], key[2], size[s], r]
          for (i = r; i > 1 && sorted[i - 1] > ratio; i--) sorted[i] = sorted[i - 1]
          sorted[i] = ratio
        }
        median = (sorted[int((rounds + 1) / 2)] + sorted[int((rounds + 2) / 2)]) / 2
        printf " %.2f (%.2f to %.2f) |", median, sorted[1], sorted[rounds]
      }
      print ""
    }
  }' "$work/speed"

printf '\n'
table "memory; free blocks of order 5, 6, 7 and more; msize; mounted; listed; read; written; said"
table "---; ---; ---; ---; ---; ---; ---; ---"
# Movable; not movable, with blocks of 256 KiB left at most, and with 64 KiB at most.
for case in "tmpfs 5" "ramfs 7" "ramfs 5"; do
  read -r kind order <<<"$case"
  say "memory fragmented with $kind to less than order $order, $tries tries for each of $sizes"
  # Each begins with the memory of a fresh boot.
  vsh destroy "$guest"
  test/lab/lab boot "$guest" >/dev/null
  fragment "$kind" "$order" | test/lab/lab exec "$guest" >"$work/fragmented"
  awk -v sizes="$sizes" -v kind="$kind" '
    $1 == "free" && $2 == "after" { left = $8 ", " $9 ", " $10 + $11 + $12 + $13 }
    $1 == "free" { print kind " " $0 >"/dev/stderr" }
    $1 == "try" { n[$2]++; mounted[$2] += $3; listed[$2] += $4; got[$2] += $5; written[$2] += $6 }
    $1 == "said" { m = $2; $1 = $2 = ""; sub(/^ +/, ""); if (said[m] == "" || /page allocation/) said[m] = $0 }
    END {
      of = split(sizes, size, " ")
      for (s = 1; s <= of; s++) {
        m = size[s]
        printf "| %s | %s | %s | %d/%d | %d/%d | %d/%d | %d/%d | %s |\n", kind == "tmpfs" ? "movable" : "not movable", left, m,
          mounted[m], n[m], listed[m], n[m], got[m], n[m], written[m], n[m], said[m]
      }
    }' "$work/fragmented"
done
