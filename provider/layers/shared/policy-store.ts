import { lockHeldStatus } from "../../engine/lock";
import { type Script, sh } from "../../remote/shell/sh";

/**
 * A command that changes the policy store of a machine; while another one has the store's lock it is asked again, for
 * 40 s. What it said is printed where it fails.
 *
 * `semanage` and `setsebool -P` do not wait for each other but fail (libsemanage 3.4, semanage_get_trans_lock).
 */
export function whenStoreIsFree(command: Script): Script {
  return sh`turns=40
until said=$( { ${command}
} 2>&1 ); do
  turns=$((turns - 1))
  status=1
  case $said in *LOCK*) [ $turns -eq 0 ] || { sleep 1; continue; }; status=${lockHeldStatus};; esac
  printf '%s\n' "$said" >&2
  exit $status
done`;
}
