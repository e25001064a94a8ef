import { createServer, type Server as SocketServer } from "node:net";
import * as grpc from "@grpc/grpc-js";
import { EngineService } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { type LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";

/** One line as the engine was told it. */
export interface LogLine {
  readonly urn: string;
  readonly severity: string;
  readonly ephemeral: boolean;
  readonly message: string;
}

/** Pulumi's engine as far as the provider process talks to it: it takes log lines, and keeps them. */
export class Engine {
  readonly lines: LogLine[] = [];
  readonly #server = new grpc.Server();
  address = "";

  /** `answers: false`: it takes every line, and never answers. */
  static async start(answers = true): Promise<Engine> {
    const engine = new Engine();
    const log: grpc.handleUnaryCall<LogRequest, Empty> = ({ request }, done) => {
      const severity = Object.entries(LogSeverity).find(([, value]) => value === request.getSeverity())?.[0];
      engine.lines.push({
        urn: request.getUrn(),
        severity: severity ?? "",
        ephemeral: request.getEphemeral(),
        message: request.getMessage(),
      });
      if (answers) done(null, new Empty());
    };
    engine.#server.addService(EngineService, { log });
    const port = await new Promise<number>((bound, failed) => {
      engine.#server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, at) => {
        if (error) failed(error);
        else bound(at);
      });
    });
    engine.address = `127.0.0.1:${port}`;
    return engine;
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}

/** Something that takes connections and never says a word: not even its greeting arrives. */
export async function silence(): Promise<{ address: string; stop: () => void }> {
  const sockets: { destroy: () => unknown }[] = [];
  const server: SocketServer = createServer((socket) => sockets.push(socket));
  const port = await new Promise<number>((bound) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      bound(typeof address === "object" && address ? address.port : 0);
    });
  });
  const stop = (): void => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  };
  return { address: `127.0.0.1:${port}`, stop };
}
