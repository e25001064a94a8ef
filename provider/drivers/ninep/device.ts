import type { Device9p } from "../../formats/domain-xml";

/** The arguments that the device is made of ({@link wantedDevice}): a running QEMU gets another only by a power cycle. */
export const deviceArguments = [
  "source",
  "tag",
  "accessMode",
  "readOnly",
  "multidevs",
  "fileMode",
  "directoryMode",
  "model",
] as const;

/** The arguments of a share that make its device, and others. */
type Asked = Omit<Device9p, "fileMode" | "directoryMode"> & {
  readonly fileMode?: string | undefined;
  readonly directoryMode?: string | undefined;
};

/** The device that they ask for. */
export function wantedDevice(spec: Asked): Device9p {
  const { source, tag, accessMode, readOnly, multidevs, fileMode, directoryMode, model } = spec;
  return { source, tag, accessMode, readOnly, multidevs, fileMode, directoryMode, model };
}
