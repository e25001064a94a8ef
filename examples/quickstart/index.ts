import * as pulumi from "@pulumi/pulumi";
import { Virtio9pShare, type Virtio9pShareArgs } from "pulumi-virtio9p";

const config = new pulumi.Config();

const share = new Virtio9pShare("foobar", {
  source: config.require("source"),
  domain: config.require("domain"),
  // What may be done to give a running guest the device: 9p has no hot-plug.
  power: config.get<Extract<Virtio9pShareArgs["power"], string>>("power") ?? "never",
  guest: { mountPoint: "/mnt/foobar", owner: "root", group: "root", mode: "0750" },
});

export const status = share.status;
export const fstab = share.fstabEntry;
export const owner = share.directoryOwner;
