export { type ErrorCode, errorCodes, type Problem, ShareError } from "./errors";
export {
  type ConnectionArgs,
  type DirectoryArgs,
  type GuestArgs,
  type HostArgs,
  type MountOptionsArgs,
  type SelinuxArgs,
  type TimeoutArgs,
  Virtio9pShare,
  type Virtio9pShareArgs,
} from "./pulumi/resource";
export type { LayerName as Layer, LayerState } from "./engine/layer";
export type { Status } from "./share/status";
