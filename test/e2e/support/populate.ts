import { output } from "./run";

/**
 * Fills a directory with what people have: owners, every mode, access lists, odd names, hard links, links, FIFOs,
 * devices. `count` plain files in directories of a hundred; sockets are left out, for nothing but a server makes them.
 */
export async function populate(path: string, count: number): Promise<void> {
  await output("bash", ["-ec", script, "bash", path, String(count)], { timeoutMs: 600_000 });
}

const script = `mkdir -p "$1"; cd "$1"
for directory in $(seq 0 $((($2 - 1) / 100))); do mkdir "d$directory"; done
seq 0 $(($2 - 1)) | awk '{ print "d" int($1 / 100) "/f" $1 }' | xargs touch
# Fifty owners; every mode but setuid and setgid of a file.
seq 0 $(($2 - 1)) | awk '{ print "# file: d" int($1 / 100) "/f" $1 "\\n# owner: " 1000 + $1 % 50 "\\n# group: " 2000 + $1 % 7 "\\n# flags: --" ($1 % 1024 > 511 ? "t" : "-") "\\nuser::" bits(int($1 / 64)) "\\ngroup::" bits(int($1 / 8)) "\\nother::" bits($1) "\\n" }
function bits(n) { return (int(n / 4) % 2 ? "r" : "-") (int(n / 2) % 2 ? "w" : "-") (n % 2 ? "x" : "-") }' | setfacl --restore=-
n=0; for one in d*; do n=$((n + 1)); chown $((3000 + n)):$((n % 5)) "$one"; chmod $((n % 2))$((n % 8 / 2 * 2))$(((n + 5) % 8))$((n * 3 % 8)) "$one"; done
chmod 2775 d0
mkdir odd; cd odd
touch -- $'new\\nline' 'back\\\\slash' 'two  blanks ' ' first' -rf "quo'te" '"' $'\\xff\\xfe' '# file: x' 'a=b' '\\012' "$(printf %0255d 1)"
n=0; for one in ./*; do n=$((n + 1)); chown $n:$n "$one"; chmod $((n % 8))40 "$one"; done
ln 'a=b' hard; ln -s /etc/passwd link; ln -s nowhere dangling; chown -h 77:88 link
mkfifo -m 640 fifo; mknod -m 600 null c 1 3; mknod -m 660 block b 7 9; chown 55:66 fifo null
touch listed masked; setfacl -m u:1234:rwx,g:99:r listed; chmod 600 masked; setfacl -m g::rw,m::r masked
mkdir default; setfacl -d -m u:77:rx default; setfattr -n user.other -v mine 'a=b'
`;

/** All of a tree on the host: owners, modes, sizes, times of content, links, attributes, access lists. */
export function everythingIn(path: string): Promise<string> {
  return output("bash", ["-c", everything, "bash", path]);
}

/** By which two states of a tree that is too large to be shown are compared. */
export function digestOf(path: string): Promise<string> {
  return output("bash", ["-c", `( ${everything} ) | sha256sum`, "bash", path], { timeoutMs: 600_000 });
}

const everything = `cd "$1"; find . -printf '%p|%y|%U:%G|%m|%n|%s|%T@|%l\\n' | LC_ALL=C sort
find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - -e hex -- 2>/dev/null`;

/** A line for each entry, as stat(1) of coreutils and of busybox have it: name, st_mode, owner, group, time. */
export const listing = "find . -print0 | LC_ALL=C sort -z | xargs -0 stat -c '%n|%f|%u|%g|%Y'";
