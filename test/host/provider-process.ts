import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import * as grpc from "@grpc/grpc-js";
import { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as messages from "@pulumi/pulumi/proto/provider_pb";
import * as status from "@pulumi/pulumi/proto/status_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";

/** Inputs or outputs. */
export type Properties = Readonly<Record<string, unknown>>;

/** A call that failed, with what a partial failure carries. */
export class CallFailure extends Error {
  constructor(
    message: string,
    readonly partial: { id: string; properties: Properties; reasons: string[] } | undefined,
  ) {
    super(message);
  }
}

export const checkout = resolve(__dirname, "../..");

/** Pulumi's own process for dynamic providers, as the engine starts it, and its calls. */
export class ProviderProcess {
  /** All that it printed on standard error. */
  stderr = "";

  private constructor(
    private readonly child: ChildProcess,
    private readonly client: ResourceProviderClient,
  ) {}

  /** `engine`: the address that the engine gives as its own; without it nobody is there. */
  static async start(
    directory: string,
    engine = "127.0.0.1:0",
    env: NodeJS.ProcessEnv = {},
  ): Promise<ProviderProcess> {
    const program = require.resolve("@pulumi/pulumi/cmd/dynamic-provider");
    const child = spawn(process.execPath, [program, engine], {
      cwd: directory,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const port = await new Promise<string>((found, failed) => {
      createInterface({ input: child.stdout }).once("line", found);
      child.once("exit", (code) => {
        failed(new Error(`the provider process ended with ${code ?? "a signal"}`));
      });
    });
    const client = new ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    const started = new ProviderProcess(child, client);
    child.stderr.on("data", (chunk: Buffer) => (started.stderr += chunk.toString()));
    return started;
  }

  async stop(): Promise<void> {
    this.client.close();
    const ended = new Promise((done) => this.child.once("exit", done));
    this.child.kill();
    await ended;
  }

  async check(news: Properties, olds: Properties = {}) {
    const request = new messages.CheckRequest();
    request.setOlds(struct(olds));
    request.setNews(struct(news));
    const answer = await call<messages.CheckResponse>((done) => this.client.check(request, done));
    return {
      inputs: plain(answer.getInputs()),
      failures: answer.getFailuresList().map((one) => [one.getProperty(), one.getReason()] as const),
    };
  }

  async diff(id: string, olds: Properties, news: Properties) {
    const request = new messages.DiffRequest();
    request.setId(id);
    request.setOlds(struct(olds));
    request.setNews(struct(news));
    const answer = await call<messages.DiffResponse>((done) => this.client.diff(request, done));
    const { DIFF_SOME, DIFF_NONE } = messages.DiffResponse.DiffChanges;
    const changes = answer.getChanges();
    return {
      changes: changes === DIFF_SOME ? true : changes === DIFF_NONE ? false : "unknown",
      replaces: answer.getReplacesList(),
      deleteBeforeReplace: answer.getDeletebeforereplace(),
    };
  }

  async create(inputs: Properties) {
    const request = new messages.CreateRequest();
    request.setProperties(struct(inputs));
    const answer = await call<messages.CreateResponse>((done) => this.client.create(request, done));
    return { id: answer.getId(), outputs: plain(answer.getProperties()) };
  }

  async read(id: string, outputs: Properties) {
    const request = new messages.ReadRequest();
    request.setId(id);
    request.setProperties(struct(outputs));
    const answer = await call<messages.ReadResponse>((done) => this.client.read(request, done));
    return { id: answer.getId(), outputs: plain(answer.getProperties()), inputs: plain(answer.getInputs()) };
  }

  async update(id: string, olds: Properties, news: Properties): Promise<Properties> {
    const request = new messages.UpdateRequest();
    request.setId(id);
    request.setOlds(struct(olds));
    request.setNews(struct(news));
    const answer = await call<messages.UpdateResponse>((done) => this.client.update(request, done));
    return plain(answer.getProperties());
  }

  async delete(id: string, outputs: Properties): Promise<void> {
    const request = new messages.DeleteRequest();
    request.setId(id);
    request.setProperties(struct(outputs));
    await call((done) => this.client.delete(request, done));
  }
}

type Callback<T> = (error: grpc.ServiceError | null, answer: T) => void;

function call<T>(start: (done: Callback<T>) => unknown): Promise<T> {
  return new Promise((done, failed) => {
    start((error, answer) => {
      if (error) failed(new CallFailure(error.details, partialOf(error)));
      else done(answer);
    });
  });
}

/** What the engine records of a failed create or update: an ErrorResourceInitFailed in the status's details. */
function partialOf(error: grpc.ServiceError): CallFailure["partial"] {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Buffer)) return undefined;
  const [any] = status.Status.deserializeBinary(bytes).getDetailsList();
  if (!any) return undefined;
  const detail = messages.ErrorResourceInitFailed.deserializeBinary(any.getValue_asU8());
  return {
    id: detail.getId(),
    properties: plain(detail.getProperties()),
    reasons: detail.getReasonsList(),
  };
}

function struct(properties: Properties): Struct {
  return Struct.fromJavaScript(properties as Parameters<typeof Struct.fromJavaScript>[0]);
}

function plain(properties: Struct | undefined): Properties {
  return properties?.toJavaScript() ?? {};
}
