import { hostMounts } from "../layers/shared/mounts";
import { hostExports } from "../layers/shared/exclusive-access";
import { valueIn } from "../engine/requests";
import { look } from "../engine/executor";
import { ShareError } from "../errors";
import { DirectoryTrees } from "../formats/directory-tree";
import { thisMachine } from "../share/machines";
import { failure } from "./report";

/**
 * Refuses with `domainRuns` where a running domain has this directory or file, a part of it, or one that it lies in: its
 * guest has in its cache what was there before, and writes while we do.
 */
export async function refuseRunning(path: string, libvirtUri: string): Promise<void> {
  const facts = new Map([hostExports, hostMounts].map((fact) => [fact.does, fact] as const));
  const [answer] = await look([{ machine: thisMachine(libvirtUri), facts }]);
  if (!answer || answer instanceof ShareError) throw answer ?? new Error("a look without an answer");
  const exports = valueIn(answer, hostExports) ?? [];
  const trees = new DirectoryTrees(valueIn(answer, hostMounts) ?? []);
  const running = exports.filter(
    ({ live, realPath }) => live && (trees.isInside(path, realPath) || trees.isInside(realPath, path)),
  );
  const [one] = running;
  if (!one) return;
  const names = [...new Set(running.map(({ domain }) => domain))].join(", ");
  const where = trees.isSame(one.realPath, path)
    ? path
    : trees.isInside(path, one.realPath)
      ? `${one.realPath}, which has ${path} in it,`
      : `${one.realPath}, in ${path},`;
  throw failure(
    "domainRuns",
    `${where} is exported to ${names}, which runs`,
    "do it in the guest, or shut it down first (--live does it all the same)",
  );
}
