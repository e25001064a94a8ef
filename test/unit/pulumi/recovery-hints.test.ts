import { ShareError, type ErrorCode } from "../../../provider/errors";
import * as lifecycle from "../../../provider/pulumi/lifecycle";
import type { Properties } from "../../../provider/pulumi/state";
import type { Machines } from "../../../provider/share/observe";
import { uuid } from "../sample";

/** destroy, when the first look at the host fails: how to give a share up whose host is gone for good. */

let failure: Error;
jest.mock("../../../provider/share/machines", () => ({
  machinesOf: (): Machines =>
    ({
      key: "k",
      knownUuid: "",
      unverified: [],
      host: {
        transport: { machine: "this machine", run: () => Promise.reject(failure) },
        key: "k",
        idleMs: 1000,
        scope: { key: "", enter: { text: ":" }, beforeWrite: { text: ":" } },
        most: 10,
        prelude: { text: ":" },
        programs: [],
      },
    }) as unknown as Machines,
}));

/** As the engine writes it for a share in a component, with a quote in its name. */
const urn = "urn:pulumi:lab::e2e::my:Group$pulumi-nodejs:dynamic/virtio9p:Virtio9pShare::it's";
const outputs = {
  source: "/foo/bar",
  domain: "web1",
  tag: "foobar",
  domainUuid: uuid,
  before: {},
  __former: [],
};
const failed = (code: ErrorCode, layer = "host", remedy?: string): ShareError =>
  new ShareError({
    code,
    layer,
    machine: "this machine",
    what: "no",
    ...(remedy === undefined ? {} : { remedy }),
  });
const removing = async (more: Properties = { __logUrn: urn }): Promise<unknown> =>
  lifecycle.remove({ ...outputs, ...more }).catch((error: unknown) => error);
const wayOut =
  "to give it up without touching the host: pulumi state delete " +
  "'urn:pulumi:lab::e2e::my:Group$pulumi-nodejs:dynamic/virtio9p:Virtio9pShare::it'\\''s'";

test.each<ErrorCode>(["libvirtUnreachable", "transportFailed", "sudoNeedsPassword", "toolMissing"])(
  "%s: the line to type, quoted",
  async (code) => {
    failure = failed(code);
    expect(await removing()).toMatchObject({
      code,
      message: `host on this machine: no [${code}]\n    to do: ${wayOut}`,
      cause: failure,
    });
  },
);

test("after what else is to be done", async () => {
  failure = failed("libvirtUnreachable", "host", "start it");
  expect(await removing()).toMatchObject({
    message: `host on this machine: no [libvirtUnreachable]\n    to do: start it; ${wayOut}`,
  });
});

test.each([[{}], [{ __logUrn: 1 }], [{ __logUrn: "" }]])(
  "a state without the URN (%j): where it stands",
  async (more) => {
    failure = failed("libvirtUnreachable");
    expect(await removing(more)).toMatchObject({
      message:
        "host on this machine: no [libvirtUnreachable]\n    to do: to give it up without touching the host: " +
        "pulumi state delete, with the URN that pulumi stack --show-urns shows",
    });
  },
);

test.each<[string, Error]>([
  ["a host that answers", failed("lookFailed")],
  ["a host that hangs", failed("commandTimedOut")],
  ["a guest without a tool", failed("toolMissing", "guest")],
  ["a fault of ours", new TypeError("x is not a function")],
])("%s: the error as it was", async (_, error) => {
  failure = error;
  expect(await removing()).toBe(error);
});

test.each(["remove", "read"] as const)(
  "%s with credentials that are no good any more: what to do",
  async (call) => {
    failure = failed("authenticationFailed", "host", "see");
    await expect(lifecycle[call]({ ...outputs, __logUrn: urn })).rejects.toThrow(
      "to do: see; refresh and destroy use the credentials that the state has: after a rotation run pulumi up first, without --refresh",
    );
  },
);

test("read and create say nothing of giving up", async () => {
  failure = failed("libvirtUnreachable");
  await expect(lifecycle.read({ ...outputs, __logUrn: urn })).rejects.toBe(failure);
  await expect(lifecycle.create(lifecycle.check({ ...outputs, __logUrn: urn }).inputs)).rejects.toBe(failure);
});
