/** A typed emitter. A listener that throws is reported, and never stops the others or the emitter. */
export interface Emitter<Events extends Record<string, unknown>> {
  /** Returns the function that removes the listener; so does `signal`. */
  on<K extends keyof Events>(
    name: K,
    listener: (event: Events[K]) => void,
    signal?: AbortSignal,
  ): () => void
  emit<K extends keyof Events>(name: K, event: Events[K]): void
}

export function createEmitter<Events extends Record<string, unknown>>(
  onError: (error: unknown) => void,
): Emitter<Events> {
  const listeners = new Map<keyof Events, Set<(event: never) => void>>()
  return {
    on(name, listener, signal) {
      const set = listeners.get(name) ?? new Set()
      listeners.set(name, set.add(listener))
      const off = (): void => void set.delete(listener)
      signal?.addEventListener('abort', off, { once: true })
      return off
    },
    emit(name, event) {
      for (const listener of Array.from(listeners.get(name) ?? [])) {
        try {
          listener(event as never)
        } catch (error) {
          onError(error)
        }
      }
    },
  }
}
