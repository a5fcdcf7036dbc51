/** Sets of numbers below a bound that cost the same however many there are. */

/** A set in no order, of which the i-th can be had. */
export class NumberList {
  readonly #items: number[] = []
  readonly #places: Int32Array

  constructor(bound: number) {
    this.#places = new Int32Array(bound).fill(-1)
  }

  get size(): number {
    return this.#items.length
  }

  at(i: number): number | undefined {
    return this.#items[i]
  }

  has(n: number): boolean {
    return (this.#places[n] ?? -1) !== -1
  }

  add(n: number): void {
    if (this.has(n)) return
    this.#places[n] = this.#items.length
    this.#items.push(n)
  }

  remove(n: number): void {
    const place = this.#places[n] ?? -1
    if (place === -1) return
    this.#places[n] = -1
    const last = this.#items.pop()
    if (last === undefined || last === n) return
    this.#items[place] = last
    this.#places[last] = place
  }
}

/** A set in order of a rank that changes a little at a time: a list for each rank. */
export class RankedNumbers {
  readonly #lists: number[][] = []
  readonly #places: Int32Array
  #size = 0

  constructor(bound: number) {
    this.#places = new Int32Array(bound).fill(-1)
  }

  get size(): number {
    return this.#size
  }

  /** One more than the highest rank. */
  get ranks(): number {
    return this.#lists.length
  }

  /** Those of one rank, in no order. */
  ranked(rank: number): readonly number[] {
    return this.#lists[rank] ?? []
  }

  has(n: number): boolean {
    return (this.#places[n] ?? -1) !== -1
  }

  /** It must not be there. */
  add(n: number, rank: number): void {
    while (this.#lists.length <= rank) this.#lists.push([])
    const list = this.#lists[rank]
    if (list === undefined) return
    this.#places[n] = list.push(n) - 1
    this.#size++
  }

  /** It must be there, with this rank. */
  remove(n: number, rank: number): void {
    const list = this.#lists[rank]
    const place = this.#places[n] ?? -1
    const last = list?.pop()
    this.#places[n] = -1
    this.#size--
    if (list === undefined || last === undefined || last === n) return
    list[place] = last
    this.#places[last] = place
  }

  clear(): void {
    this.#lists.length = 0
    this.#places.fill(-1)
    this.#size = 0
  }
}
