import * as pulumi from "@pulumi/pulumi";
import { Virtio9pShare } from "pulumi-virtio9p";

const config = new pulumi.Config();

const share = new Virtio9pShare("foobar", {
  source: config.require("source"),
  domain: config.require("domain"),
  power: (config.get("power") as "never" | "start" | "restart" | "force" | undefined) ?? "never",
  guest: { mountPoint: "/mnt/foobar", owner: "root", group: "root", mode: "0750" },
});

export const status = share.status;
export const fstab = share.fstabEntry;
