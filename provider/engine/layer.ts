import type { Problem } from "../errors";
import type { ShareSpec } from "../spec/spec";
import type { Script } from "../remote/shell/sh";

/** What a record, an output or an argument can hold. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Where a script runs: the KVM host, or the guest of the share's domain. */
export type Place = "host" | "guest";

/** The layers of one share, in the order in which they are made; names are part of the contract (outputs `layers`). */
export const layerNames = [
  "directory",
  "selinux",
  "device",
  "modules",
  "fstab",
  "mount",
  "guestOwnership",
  "guestBooleans",
] as const;

/** One of {@link layerNames}. */
export type LayerName = (typeof layerNames)[number];

/** What a look found of a layer; `unknown` where its place could not be looked at. */
export const layerStates = ["ok", "missing", "differs", "unknown", "unmanaged"] as const;

/** One of {@link layerStates}. */
export type LayerState = (typeof layerStates)[number];

/**
 * One thing to be looked up, by a read-only script, once per look however many ask for it.
 *
 * The script may use `$domain` (the domain's UUID, empty if there is none) and `vsh` (virsh, bound to
 * the share's libvirt) on the host. A non-zero exit is an error of the look: absence is a fact, and is
 * printed.
 */
export interface Fact<T> {
  readonly place: Place;
  /** In the operator's words, and what no other fact does: it is known by it. Sample: `look at /srv/a`. */
  readonly does: string;
  readonly script: Script;
  /** `output` is decoded as UTF-8; `bytes` is what was really printed. */
  readonly parse: (output: string, bytes: Buffer) => T;
  /** Plans rest on it: it is looked up again, under the lock, just before a write. */
  readonly precondition?: boolean;
  /** Nothing that a share does changes it: it is not asked for again behind a write, nor compared before the next one. */
  readonly fixed?: true;
  /** Its script uses a shell variable that several facts are read out of. */
  readonly gathers?: Gathering;
  /** Its script uses `$domain` or `$recorded`: another domain is another fact. */
  readonly perDomain?: boolean;
  /** Programs that the script needs. */
  readonly tools?: readonly Tool[];
  /** What a non-zero exit means, where it has a name of its own. */
  readonly failure?: Pick<Problem, "code" | "what" | "remedy">;
  /** Its failure is not that of the whole look: it is kept there for whoever needs the fact. The engine sets it. */
  readonly mayFail?: boolean;
}

/** What several facts are read out of: asked for once per look, and kept in a shell variable (without NULs). */
export interface Gathering {
  readonly variable: string;
  readonly script: Script;
  /** Only where this test succeeds for one of the domains; else the variable is empty. */
  readonly when?: Script;
}

/** A program that a script needs, and the packages that bring it. */
export interface Tool {
  readonly program: string;
  /** Debian and Ubuntu; Fedora, RHEL and their kin. */
  readonly packages: readonly [debian: string, fedora: string];
}

/** The facts of a layer, by name. */
export type Facts<Seen> = { readonly [K in keyof Seen]: Fact<Seen[K]> };

/** What such facts find, where all were looked up; of those that are asked for at times it may be undefined. */
export type Seen<F> = { readonly [K in keyof F]: F[K] extends Fact<infer T> | undefined ? T : never };

/** What such facts find: `Must` always, the others where they could be looked up. */
export type SeenBy<F, Must extends keyof F> = { readonly [K in Must]: FoundBy<F[K]> } & {
  readonly [K in Exclude<keyof F, Must>]?: FoundBy<F[K]> | undefined;
};

type FoundBy<F> = F extends Fact<infer T> ? T : never;

/**
 * The facts that restore or drift asks for, by name. One that it `must` have: where its look fails, the layer is unknown
 * on refresh, and destroy is refused. One that it `may` have: where its look fails, it is undefined, with a warning.
 */
export type Needs<Seen> = { readonly [K in keyof Seen]?: "must" | "may" };

/** Such a table, by the names of both. */
export function needs<Must extends string, May extends string = never>(
  must: readonly Must[],
  may: readonly May[] = [],
): { readonly [K in Must]: "must" } & { readonly [K in May]: "may" } {
  const all = [...must.map((name) => [name, "must"]), ...may.map((name) => [name, "may"])];
  return Object.fromEntries(all) as ReturnType<typeof needs<Must, May>>;
}

/** What is seen of what is needed: nothing else was asked for. */
export type Needed<Seen, N extends Needs<Seen>> = {
  readonly [K in keyof Seen as Asked<K, N, "must">]: Seen[K];
} & { readonly [K in keyof Seen as Asked<K, N, "may">]?: Seen[K] | undefined };

type Asked<K, N, How> = K extends keyof N ? (N[K] extends How ? K : never) : never;

/** A layer that needs all its facts for everything. */
export type NeedsAll<Seen> = { readonly [K in keyof Seen]-?: "must" };

/** What facts are looked up for: to make something, to compare what there is, or to give it back. */
export type Purpose = "plan" | "drift" | "restore";

/** A change, as data: it prints, it compares. */
export interface Step {
  /** In the operator's words: `chown /srv/a to 64055:64055`. */
  readonly does: string;
  readonly run: Script;
  /** Takes it back when a later step of the same script fails. None: what it did does no harm alone. */
  readonly undo?: Script;
  /** What its failure is called, where that has a name of its own; else `stepFailed`. */
  readonly code?: Problem["code"];
  /** What failures of it are called by what the machine answered: the first whose `answer` stands in it. */
  readonly failures?: readonly StepFailure[];
  /**
   * Of a step that costs as much for many shares as for one, such as a transaction of SELinux: what this one asks for, in
   * whole lines. Queued steps of one script are of one kind: `run` is the same text for all, does all that stands in
   * `$queued` or nothing, and is run once.
   */
  readonly queued?: string;
  /** Whose step it is; the engine fills it in. */
  readonly layer?: LayerName;
}

/** A way in which a step fails. */
export interface StepFailure extends Pick<Problem, "code" | "what" | "remedy"> {
  /** Part of what comes back, as it is: `No space left on device`. */
  readonly answer: string;
}

/** What is wrong, without the layer and machine that the engine knows. */
export type Refusal = Omit<Problem, "layer" | "machine">;

/** One thing that is wrong. */
export function refuse(code: Refusal["code"], what: string, remedy: string): [Refusal] {
  return [{ code, what, remedy }];
}

/** What to do, or why it cannot be done. With a refusal nothing at all is done. */
export interface Plan {
  readonly refuse?: readonly Refusal[];
  readonly steps: readonly Step[];
  readonly warnings?: readonly string[];
}

/** Nothing is done, for one thing that is wrong. */
export function refused(...[code, what, remedy]: Parameters<typeof refuse>): Plan {
  return { refuse: refuse(code, what, remedy), steps: [] };
}

/** How a machine differs from what is wanted. */
export interface Drift {
  readonly state: LayerState;
  /** Arguments that the machine contradicts, by dotted path, with the value that it has: `{"directory.owner": "0"}`. */
  readonly args: Readonly<Record<string, Json>>;
  /** For a person: what has no argument of its own, such as a line taken out. */
  readonly notes: readonly string[];
  /** What it makes of the share's status: `pendingRemount`, for this reason. None: the share is `drifted`. */
  readonly pending?: PendingReason;
}

/** What in a running guest waits to be mounted anew; `mountBusy`: for whoever uses it, as all that lies on it does. */
export const pendingReasons = ["notMounted", "mountDiffers", "mountBusy"] as const;

/** One of {@link pendingReasons}. */
export type PendingReason = (typeof pendingReasons)[number];

/**
 * When the steps of a layer run. Up: `host`, `guestBoot` (what the next boot of the guest needs), the
 * power cycle, `guestLive`. Down: `guest`, `hostDetach`, the power cycle, `hostLast`.
 */
export type UpPhase = "host" | "guestBoot" | "guestLive";
export type DownPhase = "guest" | "hostDetach" | "hostLast";

/** What is known of a share beside what its machines show. */
export interface Context {
  /** The tags under which this very share has, or had, its device. */
  readonly tags: ReadonlySet<string>;
  /** Where it is, or was, mounted in the guest. */
  readonly mountPoints: ReadonlySet<string>;
  /** Shares that this process makes at the same time on the same host, each with its resource's name. */
  readonly others: readonly { readonly name: string | undefined; readonly spec: ShareSpec }[];
  /** By layer, what the last operation saw standing, in the layer's own form. */
  readonly lastSeen: Readonly<Record<string, Json>>;
  /** What first contact of another share found of the same thing, where that one holds it alone so far. */
  readonly foreign?: { readonly before: Json; readonly references: readonly string[] } | undefined;
}

/** The context of a share that is alone, at first contact. */
export const alone: Context = { tags: new Set(), mountPoints: new Set(), others: [], lastSeen: {} };

/**
 * One layer of a share: what is wanted, what is there, how to get from one to the other, and back.
 *
 * All functions are pure. `before` is what the record on the host says of first contact, undefined
 * when there is no record yet.
 */
export interface Layer<
  Want,
  Seen extends object,
  Before extends Json,
  RestoreNeeds extends Needs<Seen> = NeedsAll<Seen>,
  DriftNeeds extends Needs<Seen> = NeedsAll<Seen>,
> {
  readonly layer: LayerName;
  /**
   * Where a layer has several things, that each have a record: under which name this one goes. Default: the
   * layer's.
   */
  name?(want: Want): string;
  readonly place: Place;
  readonly up: UpPhase;
  readonly down: DownPhase;
  /**
   * In the guest: it has to be given back before the host's part goes. A guest that cannot be reached is then an error;
   * without this it is given back when the guest can be reached.
   */
  readonly beforeHost?: true;
  /** On the host: the running QEMU uses it until its device is gone, and before that it is not given back. */
  readonly usedByQemu?: true;
  /**
   * All shares of a machine have the same thing. A share lets go of its record when it takes its device out. Whichever finds
   * then that no share holds it restores it. Several may, at the same time: restoring it twice is the same as once.
   */
  readonly shared?: true;
  /** In the guest: what of it stays there when the share is destroyed while the domain is off, in the operator's words. */
  left?(want: Want, before: Before): string | undefined;
  /** What its record is bound to: a directory belongs to the host, a line in fstab to the domain. */
  readonly scope: "host" | "domain";
  /** Undefined: not managed. */
  want(spec: ShareSpec): Want | undefined;
  /** When this changes, the old one is restored and a new one ensured. */
  identity(want: Want): string;
  /** What the way up asks for, all of which it must have; for another purpose one that costs much may see less. */
  facts(want: Want, purpose?: Purpose): Facts<Seen>;
  /** What the way down and the refresh ask for; left out: the same as the way up. */
  readonly needs?: { readonly restore: RestoreNeeds; readonly drift: DriftNeeds };
  /** `known`: the state says that this share had this very identity before, so what is there is ours to repair. */
  plan(want: Want, seen: Seen, before: Before | undefined, known: boolean, context?: Context): Plan;
  /** What first contact found, in the form of the record. */
  remember(want: Want, seen: Seen): Before;
  restore(want: Want, before: Before, seen: Needed<Seen, RestoreNeeds>, context?: Context): Plan;
  drift(want: Want, seen: Needed<Seen, DriftNeeds>): Drift;
  /** What of the resource's outputs it says, by name; of what was not seen, what is known all the same. */
  outputs?(want: Want, seen: Needed<Seen, DriftNeeds> | undefined): Readonly<Record<string, string>>;
  /** What of it a later operation must find again, in a form of its own; undefined: nothing stands. */
  fingerprint?(seen: Seen): Json | undefined;
}

/** A layer that a share may have several of: each is looked at, made, given back and recorded for itself. */
export interface LayerOfMany<
  Want,
  Seen extends object,
  Before extends Json,
  RestoreNeeds extends Needs<Seen> = NeedsAll<Seen>,
  DriftNeeds extends Needs<Seen> = NeedsAll<Seen>,
> extends Omit<Layer<Want, Seen, Before, RestoreNeeds, DriftNeeds>, "want"> {
  wants(spec: ShareSpec): readonly Want[];
}

/** A layer whose types are known to itself alone: how the engine holds them all in one list. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the existential type that TypeScript lacks
export type AnyLayer = Layer<any, any, any, any, any> | LayerOfMany<any, any, any, any, any>;

/** A layer in which no argument is contradicted. */
export function found(state: LayerState, ...notes: readonly string[]): Drift {
  return { state, args: {}, notes };
}

/** A layer that is as it should be. */
export const asWanted = found("ok");
