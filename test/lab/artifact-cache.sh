# shellcheck shell=bash
# The cache of what the lab builds: one directory per artifact, named for the
# digest of its recipe, complete or absent, verified whenever it is used.

# Where artifacts are kept: outside the tree, so that a checkout stays clean and
# several checkouts share them.
LAB_CACHE=${VIRTIO9P_LAB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pulumi-virtio9p/lab}

# Prints an artifact's directory. The files that make up its recipe follow the
# name: a change to any of them is another directory, and so a new build.
artifact_directory() {
  local name=$1 digest
  shift
  digest=$(cd "$LAB_HOME" && sha256sum -- "$@" | sha256sum)
  printf '%s/%s-%s' "$LAB_CACHE" "$name" "${digest:0:16}"
}

# Tells whether an artifact is there and every byte of it is as it was built.
artifact_is_sound() {
  [[ -f $1/SHA256SUMS ]] && (cd "$1" && sha256sum -c --quiet --strict SHA256SUMS) >/dev/null 2>&1
}

# Writes the manifest that artifact_is_sound checks.
write_manifest() {
  local sums
  sums=$(cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
  printf '%s\n' "$sums" >"$1/SHA256SUMS"
}

# Makes sure that an artifact is in the cache. `make` is called with an empty
# directory beside the final one, which takes its place only when complete. The
# lock lets a second build of the same artifact wait for the first and use it.
ensure_artifact() {
  local directory=$1 make=$2 name lock building
  name=${directory##*/}
  mkdir -p -- "$LAB_CACHE"
  exec {lock}>"$LAB_CACHE/.${name%-*}.lock"
  if ! flock --nonblock "$lock"; then
    say "waiting for another build of ${name%-*}"
    flock --timeout 1800 "$lock" || fail "another build of ${name%-*} still holds $LAB_CACHE/.${name%-*}.lock after 30 minutes"
  fi
  if ! artifact_is_sound "$directory"; then
    if [[ -e $directory ]]; then
      say "$name in the cache is damaged: building it again"
      as_root rm -rf -- "$directory"
    fi
    # What a build that was interrupted left; nobody else builds under this lock.
    as_root rm -rf -- "${directory%-*}"-*.building.*
    building=$directory.building.$$
    mkdir -- "$building"
    "$make" "$building"
    write_manifest "$building"
    mv -T -- "$building" "$directory"
  fi
  exec {lock}>&-
}
