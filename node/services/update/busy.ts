/** What is under way that needs other devices. */

export interface Busy {
  /** @returns `work` */
  hold<T>(work: Promise<T>): Promise<T>
  /** Resolves when nothing is under way, and nothing was begun by what ended. */
  idle(): Promise<void>
}

export function createBusy(): Busy {
  const held = new Set<Promise<unknown>>()
  return {
    hold(work) {
      const ended = work.then(
        () => undefined,
        () => undefined,
      )
      held.add(ended)
      void ended.then(() => held.delete(ended))
      return work
    },
    async idle() {
      while (held.size > 0) await Promise.all(held)
    },
  }
}

/** That others are needed now, over and over. */
export interface Need {
  /** From now on, until `enough`. */
  needed(): void
  enough(): void
}

export function createNeed(busy: Pick<Busy, 'hold'>): Need {
  let open: PromiseWithResolvers<void> | undefined
  return {
    needed() {
      if (open !== undefined) return
      open = Promise.withResolvers<void>()
      void busy.hold(open.promise)
    },
    enough() {
      open?.resolve()
      open = undefined
    },
  }
}
