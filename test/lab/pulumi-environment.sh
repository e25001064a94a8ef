# shellcheck shell=bash
# Which Pulumi engine the tests run, and how a shell gets it: the one on PATH when
# it fits, else the artifact.

# The oldest CLI that is taken from PATH: 3.200.
PULUMI_OLDEST_MINOR=200

# Tells whether PATH has an engine that fits, with all that it takes to run a
# Node program with dynamic resources.
pulumi_on_path_fits() {
  local version
  command -v pulumi-language-nodejs >/dev/null || return 1
  command -v pulumi-resource-pulumi-nodejs >/dev/null || return 1
  version=$(PULUMI_SKIP_UPDATE_CHECK=true pulumi version 2>/dev/null) || return 1
  [[ $version =~ ^v?3\.([0-9]+)\. ]] && ((BASH_REMATCH[1] >= PULUMI_OLDEST_MINOR))
}

# Prints the directory of the engine, which is built if there is none.
# VIRTIO9P_LAB_OWN_PULUMI=1 ignores what is on PATH.
ensure_pulumi() {
  local directory program
  if [[ -z ${VIRTIO9P_LAB_OWN_PULUMI:-} ]] && pulumi_on_path_fits; then
    program=$(command -v pulumi)
    say "pulumi: $program fits"
    printf '%s\n' "${program%/*}"
    return
  fi
  directory=$(artifact_directory pulumi "${PULUMI_RECIPE[@]}")
  ensure_artifact "$directory" make_pulumi
  printf '%s/bin\n' "$directory"
}

# lab env
lab_env() {
  local bin
  bin=$(ensure_pulumi)
  # shellcheck disable=SC2016 # the shell that evaluates the line expands it
  printf 'export PATH=%q:"$PATH"\n' "$bin"
  printf 'export PULUMI_SKIP_UPDATE_CHECK=true\n'
  printf 'export PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true\n'
}
