/** What one device says about installing under one name: none of it comes from a release. */
import type { Clock } from '../../env.ts'
import type { Restart } from './run.ts'

export interface Site {
  /** Folder of this name, made by `createInstalls`. */
  readonly root: string
  readonly clock: Clock
  /** How the program is started anew, where the release should not say. */
  readonly restart?: Restart | undefined
  /** `exec`: the owner's program and its first arguments. */
  readonly exec?: readonly string[] | undefined
  /** `deb`: dpkg's options, such as another root. */
  readonly dpkg?: readonly string[] | undefined
  /** `oci`: podman or docker, and its first arguments. */
  readonly engine?: readonly string[] | undefined
  /** `rauc` and its first arguments, and how the machine is started anew. */
  readonly rauc?:
    | { readonly argv: readonly string[]; readonly reboot: readonly string[] }
    | undefined
  readonly swupdate?: SwupdateSite | undefined
}

export interface SwupdateSite {
  /** swupdate and its options: the key that images must be signed with. */
  readonly argv: readonly string[]
  /** Said `get`, prints the slot that the next start uses; said `set SLOT`, changes it. */
  readonly slot: readonly string[]
  /** The two slots as `slot` names them, and what is selected in an image to write each. */
  readonly slots: Readonly<Record<string, string>>
  readonly reboot: readonly string[]
}
