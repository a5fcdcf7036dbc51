/**
 * libp2p's datastore in the device's database. What libp2p keeps there is a cache (how peers were
 * last reached), so writes are gathered in memory and stored together once a second: a write for
 * each of libp2p's would cost one fsync each. Reads see what waits. libp2p still writes after its
 * own stop; after disposal such writes are dropped. A disk that refuses, as a full one does, is asked
 * again later and stops nobody: what waits is a cache.
 */
import type { DatabaseSync } from 'node:sqlite'

import { BaseDatastore } from 'datastore-core'
import { Key, type KeyQuery, type Pair, type Query } from 'interface-datastore'
import { NotFoundError } from 'interface-store'

import type { Clock } from '../env.ts'
import { transaction, type Migration } from './db.ts'

export const migration: Migration = {
  version: 4,
  sql: 'CREATE TABLE libp2p (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID',
}

const STORE_AFTER_MS = 1000
const RETRY_AFTER_MS = 60_000

export type StoredDatastore = BaseDatastore & Disposable

/** Disposing stores what waits; the database must still be open then. */
export function openDatastore(db: DatabaseSync, clock: Clock): StoredDatastore {
  return new SqliteDatastore(db, clock)
}

class SqliteDatastore extends BaseDatastore implements Disposable {
  readonly #db: DatabaseSync
  readonly #clock: Clock
  /** Not stored yet; undefined deletes. */
  readonly #waiting = new Map<string, Uint8Array | undefined>()
  #cancel: (() => void) | undefined
  #closed = false

  constructor(db: DatabaseSync, clock: Clock) {
    super()
    this.#db = db
    this.#clock = clock
  }

  override put(key: Key, value: Uint8Array): Key {
    this.#change(key, Uint8Array.from(value))
    return key
  }

  override get(key: Key): Uint8Array {
    const value = this.#read(key)
    if (value === undefined) throw new NotFoundError(`${key.toString()} is not stored`)
    return value
  }

  override has(key: Key): boolean {
    return this.#read(key) !== undefined
  }

  override delete(key: Key): void {
    this.#change(key, undefined)
  }

  override *_all(query: Query): Generator<Pair> {
    for (const key of this.#keys(query.prefix)) {
      const value = this.#read(key)
      if (value !== undefined) yield { key, value }
    }
  }

  override *_allKeys(query: KeyQuery): Generator<Key> {
    yield* this.#keys(query.prefix)
  }

  #keys(prefix = ''): Key[] {
    if (this.#closed) return []
    this.#store()
    const rows = this.#db
      .prepare('SELECT key FROM libp2p WHERE substr(key, 1, length(:prefix)) = :prefix')
      .all({ prefix })
    return rows.map(({ key }) => new Key(key as string))
  }

  [Symbol.dispose](): void {
    if (this.#closed) return
    this.#store()
    this.#closed = true
    this.#cancel?.()
  }

  #change(key: Key, value: Uint8Array | undefined): void {
    if (this.#closed) return
    this.#waiting.set(key.toString(), value)
    this.#storeAfter(STORE_AFTER_MS)
  }

  #storeAfter(ms: number): void {
    this.#cancel ??= this.#clock.timer(ms, () => this.#store())
  }

  #read(key: Key): Uint8Array | undefined {
    const name = key.toString()
    if (this.#waiting.has(name)) return this.#waiting.get(name)
    if (this.#closed) return undefined
    const row = this.#db.prepare('SELECT value FROM libp2p WHERE key = ?').get(name)
    return row?.['value'] as Uint8Array | undefined
  }

  #store(): void {
    this.#cancel?.()
    this.#cancel = undefined
    if (this.#waiting.size === 0 || this.#closed || !this.#db.isOpen) return
    try {
      this.#write()
      this.#waiting.clear()
    } catch {
      this.#storeAfter(RETRY_AFTER_MS)
    }
  }

  #write(): void {
    const put = this.#db.prepare('INSERT OR REPLACE INTO libp2p (key, value) VALUES (?, ?)')
    const remove = this.#db.prepare('DELETE FROM libp2p WHERE key = ?')
    transaction(this.#db, () => {
      for (const [key, value] of this.#waiting) {
        if (value === undefined) remove.run(key)
        else put.run(key, value)
      }
    })
  }
}
