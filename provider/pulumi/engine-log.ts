import { createRequire } from "node:module";
import type * as grpc from "@grpc/grpc-js";
import type * as services from "@pulumi/pulumi/proto/engine_grpc_pb";
import type * as messages from "@pulumi/pulumi/proto/engine_pb";
import type { Display, Kind } from "./progress";

/** Milliseconds for one line: the engine is a process of this machine, and answers in one or two. */
const lineMs = 500;

/**
 * The rows of the engine that started this process; undefined where none did.
 *
 * The engine gives its address as the last argument to Pulumi's process for dynamic providers, which has
 * no use for it. A `LogRequest` with a URN is shown in that resource's row. Severity ERROR is never
 * sent: the engine would tell a failure of a call that succeeds. Undocumented, so every failure is
 * taken for "cannot be shown". Source: @pulumi/pulumi 3.259, cmd/dynamic-provider/index.js and
 * proto/engine_pb.d.ts; pulumi/pkg 3.259, resource/plugin/provider_plugin.go.
 */
export function engineLog(argv: readonly string[]): Display | undefined {
  const [, program = "", ...args] = argv;
  const address = args.at(-1);
  if (!/[/\\]cmd[/\\]dynamic-provider\b/.test(program) || !address) return undefined;
  let send: Send | undefined;
  return {
    show: async (urn, kind, text) => {
      try {
        send ??= connect(program, address);
        await send(urn, kind, text);
        return undefined;
      } catch (error) {
        return error as Error;
      }
    },
  };
}

type Send = (urn: string, kind: Kind, text: string) => Promise<void>;

/** Loaded on the first line, and from the very SDK that runs this process, which has most of it loaded already. */
function connect(program: string, address: string): Send {
  const load = createRequire(program);
  const { EngineClient } = load("@pulumi/pulumi/proto/engine_grpc_pb") as typeof services;
  const { LogRequest, LogSeverity } = load("@pulumi/pulumi/proto/engine_pb") as typeof messages;
  const { credentials, Metadata } = load("@grpc/grpc-js") as typeof grpc;
  // The engine is on this machine: a proxy of the environment is for others.
  const client = new EngineClient(address, credentials.createInsecure(), { "grpc.enable_http_proxy": 0 });
  return (urn, kind, text) => {
    const request = new LogRequest();
    request.setUrn(urn);
    request.setMessage(text);
    request.setSeverity(kind === "warning" ? LogSeverity.WARNING : LogSeverity.INFO);
    request.setEphemeral(kind === "step");
    return new Promise((resolve, reject) => {
      client.log(request, new Metadata(), { deadline: Date.now() + lineMs }, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  };
}
