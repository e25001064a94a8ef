# shellcheck shell=bash
# The artifact "pulumi": a Pulumi engine for the tests, compiled from public Go
# modules. The pinned modules in pulumi/ exist because Go refuses to install a
# module with replace lines by name.

# The CLI's version; that of @pulumi/pulumi in package.json should be the same.
PULUMI_VERSION=3.259.0
# The newest sdk module that contains the Node language host; the engine above
# works with it.
PULUMI_LANGUAGE_HOST_VERSION=3.68.0
# shellcheck disable=SC2034 # pulumi-environment.sh uses it
PULUMI_RECIPE=(
  pulumi-engine.sh
  pulumi/cli/go.mod pulumi/cli/go.sum
  pulumi/language-host/go.mod pulumi/language-host/go.sum
)

# Compiles one main package of a pinned module into a file.
compile_pinned() {
  local module=$1 package=$2 flags=$3 output=$4
  cd "$LAB_HOME/pulumi/$module" || return
  GOFLAGS='' GOWORK=off CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -ldflags "$flags" -o "$output" "$package"
}

# Copies the launcher of dynamic providers: from the project's own dependencies,
# or from the published package when they are not installed yet.
copy_dynamic_launcher() {
  local output=$1 launcher=$LAB_HOME/../../node_modules/@pulumi/pulumi/pulumi-resource-pulumi-nodejs unpacked
  if [[ -f $launcher ]]; then
    install -m 755 -- "$launcher" "$output"
    return
  fi
  unpacked=$(mktemp -d)
  (cd "$unpacked" && npm pack --silent "@pulumi/pulumi@$PULUMI_VERSION" >/dev/null && tar -xzf ./*.tgz)
  install -m 755 -- "$unpacked/package/pulumi-resource-pulumi-nodejs" "$output"
  rm -rf -- "$unpacked"
}

# Asks the finished engine for its version: a binary for the wrong machine would
# otherwise be found much later.
try_pulumi() {
  [[ $(PULUMI_SKIP_UPDATE_CHECK=true "$1/pulumi" version) == "v$PULUMI_VERSION" ]]
}

# Fills the artifact's directory: bin/ with the CLI, the language host and the
# launcher of dynamic providers.
make_pulumi() {
  local bin=$1/bin
  need go node npm
  mkdir -- "$bin"
  stage "pulumi: compile the language host $PULUMI_LANGUAGE_HOST_VERSION" compile_pinned language-host \
    github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs '-s -w' "$bin/pulumi-language-nodejs"
  stage "pulumi: compile the CLI $PULUMI_VERSION (minutes)" compile_pinned cli \
    github.com/pulumi/pulumi/pkg/v3/cmd/pulumi \
    "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v$PULUMI_VERSION" "$bin/pulumi"
  stage "pulumi: copy the dynamic provider's launcher" copy_dynamic_launcher "$bin/pulumi-resource-pulumi-nodejs"
  stage "pulumi: run it" try_pulumi "$bin"
}
