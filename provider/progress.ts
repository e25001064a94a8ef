import type { Teller } from "./reconcile/reconcile";
import { printable } from "./errors";

/**
 * What a person sees while a share is worked on: lines on standard error, which Pulumi shows in the
 * diagnostics without saying whose they are; so each begins with the share's tag.
 *
 * Steps are shown where `VIRTIO9P_LOG` is `steps`; warnings always.
 */
export function teller(tag: string): Teller {
  const verbose = process.env["VIRTIO9P_LOG"] === "steps";
  const say = (text: string): void => {
    process.stderr.write(`${printable(text)}\n`);
  };
  return {
    step: (does) => {
      if (verbose) say(`${tag}: ${does}`);
    },
    warn: (text) => {
      say(`${tag}: warning: ${text}`);
    },
  };
}
