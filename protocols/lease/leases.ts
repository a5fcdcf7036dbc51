/**
 * Who sends: one gateway of a home at a time for each name, as far as they hear each other. A pure
 * state machine over what is heard and a clock that only runs; it sends nothing itself. SPEC.md
 * "Rules".
 */
import { compareBytes, equalBytes, toHex } from '../wire/index.ts'
import type { Stand } from './messages.ts'
import { BOUNDS } from './protocol.ts'

export interface LeasesOptions {
  /** Public key of this gateway, 32 bytes. */
  readonly key: Uint8Array
  readonly nowMs: number
}

interface Own {
  stand: Stand['stand']
  term: number
  /** Since when it claims. */
  sinceMs: number
  /** From when on it has listened. */
  listensMs: number
}

interface Heard {
  readonly key: Uint8Array
  readonly atMs: number
  readonly stands: ReadonlyMap<string, Stand>
}

interface Rank {
  readonly term: number
  readonly key: Uint8Array
}

export class Leases {
  readonly #key: Uint8Array
  readonly #own = new Map<string, Own>()
  readonly #heard = new Map<string, Heard>()
  #others: ReadonlySet<string> = new Set()
  /** When it last looked at the clock, and so spoke. */
  #lookedMs: number

  constructor({ key, nowMs }: LeasesOptions) {
    this.#key = key
    this.#lookedMs = nowMs
  }

  /** The leases that this gateway takes part in. Returns whether anything has changed. */
  want(names: readonly string[], nowMs: number): boolean {
    return this.#changed(nowMs, () => {
      const wanted = new Set(names.slice(0, BOUNDS.maxLeases))
      for (const name of this.#own.keys()) if (!wanted.has(name)) this.#own.delete(name)
      for (const name of wanted) {
        if (!this.#own.has(name)) {
          this.#own.set(name, { stand: 'waits', term: 0, sinceMs: nowMs, listensMs: nowMs })
        }
      }
    })
  }

  /** The other gateways of the home, connected or not. */
  setOthers(keys: readonly Uint8Array[], nowMs: number): boolean {
    return this.#changed(nowMs, () => {
      this.#others = new Set(keys.map(toHex))
      for (const key of this.#heard.keys()) if (!this.#others.has(key)) this.#heard.delete(key)
    })
  }

  /** What another gateway says, all of it. Of one that is no gateway of the home it is nothing. */
  hear(key: Uint8Array, stands: readonly Stand[], nowMs: number): boolean {
    return this.#changed(nowMs, () => {
      if (!this.#others.has(toHex(key))) return
      const byName = new Map(stands.map((one) => [one.name, one]))
      this.#heard.set(toHex(key), { key, atMs: nowMs, stands: byName })
    })
  }

  /** Call at least once a beat, and say `stands()` after it. Returns whether anything has changed. */
  tick(nowMs: number): boolean {
    const changed = this.#changed(nowMs, () => undefined)
    this.#lookedMs = nowMs
    return changed
  }

  /** What to say. */
  stands(): Stand[] {
    return [...this.#own].map(([name, { stand, term }]) => {
      const holder = stand === 'waits' ? this.#direct(name) : undefined
      return holder === undefined
        ? { name, stand, term }
        : { name, stand, term: holder.term, holder: holder.key }
    })
  }

  /** Whether this gateway sends. Not after it has not spoken for long: others have taken over. */
  holds(name: string, nowMs: number): boolean {
    return this.#own.get(name)?.stand === 'holds' && nowMs - this.#lookedMs < BOUNDS.silentMs
  }

  /** Who sends, as far as it is known here. */
  holder(name: string): Uint8Array | undefined {
    const own = this.#own.get(name)
    return own?.stand === 'holds' ? this.#key : this.#holder(name)?.key
  }

  /** Runs `work`, then settles; whether what is to be said is different after. */
  #changed(nowMs: number, work: () => void): boolean {
    const before = this.#summary()
    this.#afterPause(nowMs)
    work()
    for (const [key, { atMs }] of this.#heard) {
      if (nowMs - atMs >= BOUNDS.silentMs) this.#heard.delete(key)
    }
    for (const [name, own] of this.#own) this.#settle(name, own, nowMs)
    return this.#summary() !== before
  }

  #summary(): string {
    return this.stands()
      .map(({ name, stand, term, holder }) =>
        [name, stand, term, holder === undefined ? '' : toHex(holder)].join('\0'),
      )
      .join('\n')
  }

  /** Whoever did not speak for so long begins anew: what it knows is old. */
  #afterPause(nowMs: number): void {
    if (nowMs - this.#lookedMs < BOUNDS.silentMs) return
    this.#lookedMs = nowMs
    this.#heard.clear()
    for (const own of this.#own.values()) {
      own.stand = 'waits'
      own.listensMs = nowMs
    }
  }

  #settle(name: string, own: Own, nowMs: number): void {
    const holder = this.#holder(name)
    const self: Rank = { term: own.term, key: this.#key }
    if (own.stand === 'holds') {
      if (holder !== undefined && isBefore(holder, self)) own.stand = 'waits'
      return
    }
    if (holder !== undefined) {
      own.stand = 'waits'
      return
    }
    const claims = this.#ranks(name, 'claims')
    if (own.stand === 'claims') {
      if (claims.some((rank) => isBefore(rank, self))) own.stand = 'waits'
      else if (nowMs - own.sinceMs >= BOUNDS.claimMs) own.stand = 'holds'
      return
    }
    const alone = this.#others.size === 0
    if (claims.length > 0 || (!alone && nowMs - own.listensMs < BOUNDS.silentMs)) return
    own.term = Math.min(BOUNDS.maxTerm, this.#highestTerm(name, own.term) + 1)
    own.stand = alone ? 'holds' : 'claims'
    own.sinceMs = nowMs
  }

  #highestTerm(name: string, own: number): number {
    return [...this.#heard.values()].reduce(
      (most, { stands }) => Math.max(most, stands.get(name)?.term ?? 0),
      own,
    )
  }

  #ranks(name: string, stand: Stand['stand']): Rank[] {
    return [...this.#heard.values()].flatMap(({ key, stands }) => {
      const said = stands.get(name)
      return said?.stand === stand ? [{ term: said.term, key }] : []
    })
  }

  /** The one that is heard to hold it. */
  #direct(name: string): Rank | undefined {
    return first(this.#ranks(name, 'holds'))
  }

  /** Heard to hold it, or heard by one that is heard. */
  #holder(name: string): Rank | undefined {
    const told = [...this.#heard.values()].flatMap(({ stands }): Rank[] => {
      const said = stands.get(name)
      if (said?.stand !== 'waits' || said.holder === undefined) return []
      const isOther = this.#others.has(toHex(said.holder)) && !equalBytes(said.holder, this.#key)
      return isOther ? [{ term: said.term, key: said.holder }] : []
    })
    return first([...this.#ranks(name, 'holds'), ...told])
  }
}

function first(ranks: readonly Rank[]): Rank | undefined {
  return ranks.reduce<Rank | undefined>(
    (best, rank) => (best === undefined || isBefore(rank, best) ? rank : best),
    undefined,
  )
}

/** The later term, and the lower key in one term: whom the other gives way to. */
function isBefore(a: Rank, b: Rank): boolean {
  return a.term > b.term || (a.term === b.term && compareBytes(a.key, b.key) < 0)
}
