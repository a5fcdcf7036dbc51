/** Start in order, stop in reverse, and stop what did start when a later start fails. */
export class Scope implements AsyncDisposable {
  readonly #stop = new AbortController()
  readonly #parts: { readonly name: string; readonly part: AsyncDisposable }[] = []
  #stopping: Promise<void> | undefined

  /** Aborts first when the scope is disposed: every part's loops end on it. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** Await `start`, remember what it returns, dispose of the whole scope where it throws. */
  async use<T extends AsyncDisposable>(
    name: string,
    start: (signal: AbortSignal) => Promise<T> | T,
  ): Promise<T> {
    let part: T
    try {
      this.signal.throwIfAborted()
      part = await start(this.signal)
    } catch (error) {
      await this[Symbol.asyncDispose]()
      throw error
    }
    this.#parts.push({ name, part })
    // Stopped while it started: it is on the list, so one more pass stops it.
    if (this.signal.aborted) {
      await this.#stopAll()
      this.signal.throwIfAborted()
    }
    return part
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    this.#stopping ??= this.#stopAll()
    return this.#stopping
  }

  async #stopAll(): Promise<void> {
    const failures: unknown[] = []
    for (const { name, part } of this.#parts.splice(0).toReversed()) {
      try {
        await part[Symbol.asyncDispose]()
      } catch (cause) {
        failures.push(new Error(`could not stop ${name}`, { cause }))
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'could not stop cleanly')
  }
}
