import { parseSpec, type ShareSpec } from "../../provider/spec/spec";
import type { Device9p, Domain } from "../../provider/formats/domain-xml";
import type { DomainInfo } from "../../provider/layers/shared/domain";
import type { TreeSeen } from "../../provider/layers/directory/tree/probe";

/** Names and values that many tests share; each overrides what it is about. */

export const uuid = "1bc66943-7fd0-4114-bc1e-3f6e6a962a47";

/** The least that a share needs; the tag is what the class fills in. */
export const leastArgs = { source: "/foo/bar", domain: "web1", tag: "foobar" };

/** A spec; throws when the arguments are refused. */
export function specOf(args: Record<string, unknown> = {}): ShareSpec {
  const parsed = parseSpec({ ...leastArgs, ...args });
  if (!parsed.spec) throw new Error(JSON.stringify(parsed.failures));
  return parsed.spec;
}

export const device: Device9p = {
  source: "/foo/bar",
  tag: "foobar",
  accessMode: "mapped",
  readOnly: false,
  multidevs: "default",
  fileMode: undefined,
  directoryMode: undefined,
  model: "virtio",
};

export const info: DomainInfo = {
  uuid,
  name: "web1",
  state: "running",
  persistent: true,
  managedSave: false,
  namesake: undefined,
};

export function domainOf(devices9p: readonly Device9p[], more: Partial<Domain> = {}): Domain {
  return {
    name: "web1",
    uuid,
    systemUuid: uuid,
    type: "kvm",
    emulator: "/usr/bin/qemu-system-x86_64",
    onPoweroff: "destroy",
    dacLabel: { user: "64055", group: "108" },
    agentChannel: "connected",
    devices9p,
    otherFilesystems: [],
    deviceKeys: devices9p.map((one) => `filesystem 9p ${one.tag}`),
    hasBlockJob: false,
    ...more,
  };
}

const none = { count: 0, names: [] };

/** A tree with so many plain files of each owner. */
export function treeOf(...owners: readonly [uid: number, user: string, count: number][]): TreeSeen {
  return {
    entries: owners.map(([uid, user, count]) => ({ kind: "file", uid, user, count, gid: 108, open: true })),
    privileged: none,
    linkedOut: none,
    otherFileSystems: none,
    unreadable: none,
  };
}
