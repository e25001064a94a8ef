import { asWanted, type LayerOfMany, type Seen, type Json, type Step, needs } from "../../engine/layer";
import { sh } from "../../remote/shell/sh";
import { whenStoreIsFree } from "../shared/policy-store";
import { onSelinux, rangeOfNewFiles, selinuxPolicy, selinuxState } from "./probes";

type PolicyBefore = { readonly [key: string]: Json; readonly loaded: boolean } | null;

const moduleName = "virtio9p_new_files";

/**
 * By it new entries get the range of the directory that they are made in, whoever makes them. A policy that
 * says so itself (Fedora's) needs none, and may not take a second definition. Source: CIL reference, defaultrange.
 */
const rules = ["file", "dir", "lnk_file", "fifo_file", "sock_file"]
  .map((kind) => `(defaultrange ${kind} target low)\n`)
  .join("");

/** Prints `loaded`, or nothing. Looked for where semodule keeps it, for `semodule -l` takes seconds. */
const loaded = sh`${selinuxPolicy}
for folder in /var/lib/selinux/"$policy"/active/modules /etc/selinux/"$policy"/active/modules; do
  for found in "$folder"/*/${moduleName}; do [ ! -e "$found" ] || echo loaded; done
done`;

const moduleLoaded = onSelinux<boolean>({
  does: `see whether the policy module ${moduleName} is loaded`,
  precondition: true,
  script: loaded,
  parse: (output) => output !== "",
});

const facts = { state: selinuxState, newRange: rangeOfNewFiles, loaded: moduleLoaded };

type PolicySeen = Seen<typeof facts>;

/**
 * `selinux.newFiles: inherit`: the policy module by which a guest can use the files it made after the next start
 * of its QEMU. It holds for the whole host, and goes with the last share that wants it.
 */
export const hostSelinuxPolicy: LayerOfMany<
  Record<string, never>,
  PolicySeen,
  PolicyBefore,
  { loaded: "must" }
> = {
  layer: "selinux",
  name: () => "selinux policy",
  place: "host",
  up: "host",
  down: "hostLast",
  shared: true,
  scope: "host",
  wants: ({ selinux, readOnly, host }) =>
    selinux.manage !== "never" &&
    selinux.newFiles === "inherit" &&
    !readOnly &&
    host.libvirtUri !== "qemu:///session"
      ? [{}]
      : [],
  identity: () => moduleName,
  facts: () => facts,
  needs: { restore: { loaded: "must" }, drift: needs(["state", "newRange", "loaded"]) },
  plan: (_want, seen) => ({ steps: isNeeded(seen) ? [load] : [] }),
  remember: (_want, seen) => (isNeeded(seen) || seen.loaded ? { loaded: seen.loaded } : null),
  restore: (_want, before, seen) => ({
    steps: before !== null && !before.loaded && seen.loaded ? [unload] : [],
  }),
  drift: (_want, seen) =>
    isNeeded(seen)
      ? { state: "missing", args: {}, notes: [`the policy module ${moduleName} is not loaded`] }
      : asWanted,
};

function isNeeded({ state, newRange, loaded }: PolicySeen): boolean {
  return state.enabled && state.missing.length === 0 && state.ranges && newRange.includes(":") && !loaded;
}

const remove = sh`[ -z "$(${loaded})" ] || {
${whenStoreIsFree(sh`semodule -r ${moduleName}`)}
}`;

/**
 * Of shares in one script the first loads it. semodule takes the module's name from its file's, and is itself confined: it
 * may not read our records, but what its caller has in /tmp (refpolicy selinuxutil.te).
 */
const load: Step = {
  does: `load the policy module ${moduleName}: new files get their directory's range, on the whole host`,
  run: sh`[ -z "$(${loaded})" ] || exit 0
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
printf %s ${rules} > "$folder/"${moduleName}.cil
${whenStoreIsFree(sh`semodule -i "$folder/"${moduleName}.cil`)}`,
  undo: remove,
};

const unload: Step = { does: `unload the policy module ${moduleName}`, run: remove };
