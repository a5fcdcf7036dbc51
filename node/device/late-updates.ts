/**
 * Updates are loaded after what a device is first asked for: its code is a tenth of all, and no
 * reading waits for a release. Until then peers that ask are told that there is nothing to ask, and
 * they ask again.
 */
import type { UpdateView } from '../api/view.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import type { HomeUpdates, UpdatingHome } from './update.ts'

export interface LateUpdates extends AsyncDisposable {
  /** Started by now, or by this. What cannot start is tried again by the next who asks. */
  get(): Promise<HomeUpdates>
  /**
   * Resolves when what peers made known of releases is here, as `Updates` says; at once, with nothing
   * loaded, where no owner ever decided anything about releases: a short wake is not longer for it.
   */
  settled(signal: AbortSignal): Promise<void>
}

/** From the start of the home; by then its first readings are out. */
const LOAD_AFTER_MS = 1_000

export function createLateUpdates(
  base: DeviceBase,
  home: () => Home,
  signal: AbortSignal,
): LateUpdates {
  const { clock, log } = base
  const stop = new AbortController()
  const until = AbortSignal.any([signal, stop.signal])
  let started: Promise<HomeUpdates> | undefined
  const start = async (): Promise<HomeUpdates> => {
    until.throwIfAborted()
    const { joinUpdates, updatesOf } = await import('./update.ts')
    const updates = await updatesOf(base, home(), until)
    joinUpdates(base, { ...home(), updates }, until)
    return updates
  }
  const get = (): Promise<HomeUpdates> => {
    started ??= start().catch((error: unknown) => {
      started = undefined
      throw error
    })
    return started
  }
  const begin = (): void => {
    get().catch((err: unknown) => {
      if (!until.aborted) log.error({ err, part: 'update' }, 'updates could not be started')
    })
  }
  const cancel = clock.timer(LOAD_AFTER_MS, begin)
  return {
    get,
    async settled(alone) {
      if (home().members.state.policy.length === 0) return
      await (await get()).updates.settled(alone)
    },
    async [Symbol.asyncDispose]() {
      cancel()
      stop.abort(new Error('stopping'))
      const updates = await started?.catch(() => undefined)
      await updates?.[Symbol.asyncDispose]()
    },
  }
}

/** The view of a home whose updates may not be loaded yet. */
export function lateUpdateView(base: DeviceBase, requireHome: () => Home): UpdateView {
  const view = async (): Promise<UpdateView> => {
    const home = requireHome()
    const updating: UpdatingHome = { ...home, updates: await home.updates.get() }
    const { updateView } = await import('./view-update.ts')
    return updateView(base, () => updating)
  }
  return {
    updates: async () => (await view()).updates(),
    trustChannel: async (input) => (await view()).trustChannel(input),
    distrustChannel: async (name) => (await view()).distrustChannel(name),
    acceptSigned: async (channel, input) => (await view()).acceptSigned(channel, input),
    changeRollout: async (change) => (await view()).changeRollout(change),
    rollbackUpdate: async (name) => (await view()).rollbackUpdate(name),
    forgiveUpdate: async (...forgiven) => (await view()).forgiveUpdate(...forgiven),
    async *fetchRelease(name, query, signal) {
      yield* (await view()).fetchRelease(name, query, signal)
    },
    exportChannel: async (channel, folder) => (await view()).exportChannel(channel, folder),
    importChannel: async (channel, folder) => (await view()).importChannel(channel, folder),
  }
}
