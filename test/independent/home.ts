/**
 * Who was in a home, by section 7.2 and 7.3 of the SPEC of members, as plainly as it says it: sets
 * of ops and recursion, with no thought of speed. Names, policies and quarantine are left out.
 */
import {
  asBytes,
  asFields,
  asList,
  asNumber,
  hex,
  need,
  openEnvelope,
  Refused,
  type Fields,
} from './documents.ts'

const WEAKNESS = ['owner', 'member', 'sensor', 'gateway', 'guest']
const NO_HOME = new Uint8Array(32)

interface Op {
  readonly id: string
  readonly signer: string
  readonly type: string
  readonly auth: string
  readonly body: Fields
  /** Ids of all ops before it, without itself. */
  readonly past: ReadonlySet<string>
  /** The grant that it makes. */
  readonly gives?: Grant
  /** Signed by the kit. */
  readonly byKit: boolean
}

interface Grant {
  readonly by: string
  readonly holder: string
  readonly role: string
  /** Ops that founded its seat and those above it. */
  readonly seat: readonly string[]
}

export interface Place {
  readonly role: string
  /** The last number that counts of a log; 0 for none, infinite where it is open. */
  readonly lastSeq: number
}

export class Home {
  readonly #home: Uint8Array
  readonly #ops = new Map<string, Op>()
  readonly #effective = new Map<string, boolean>()
  #kit = ''
  #genesis = ''

  constructor(home: Uint8Array) {
    this.#home = home
  }

  get size(): number {
    return this.#ops.size
  }

  /** @throws Refused */
  async add(bytes: Uint8Array): Promise<void> {
    const document = await openEnvelope(bytes, 'member-op', (payload) =>
      payload.get(8) === 'genesis' ? NO_HOME : asBytes(payload.get(2), 32),
    )
    const { payload, id } = document
    if (this.#ops.has(id)) return
    const type = String(payload.get(8))
    const body = asFields(payload.get(9))
    const signer = hex(document.signer)
    if (type === 'genesis') return this.#found(id, signer, body)
    if (hex(asBytes(payload.get(2), 32)) !== hex(this.#home)) throw new Refused('home')
    const past = this.#pastOf(payload)
    const auth = hex(asBytes(payload.get(4), 32))
    if (!past.has(auth)) throw new Refused('auth')
    const byKit = signer === this.#kit && auth === this.#genesis
    const acts = this.#actsUnder(signer, byKit ? undefined : auth, type)
    const gives = grantIn({ type, body, id, genesis: this.#genesis }, acts)
    this.#ops.set(id, { id, signer, type, auth, body, past, byKit, ...(gives ? { gives } : {}) })
    this.#effective.clear()
  }

  #pastOf(payload: Fields): Set<string> {
    const past = new Set<string>()
    for (const value of asList(payload.get(3))) {
      const parent = hex(asBytes(value, 32))
      for (const before of need(this.#ops.get(parent), 'parent').past) past.add(before)
      past.add(parent)
    }
    return past
  }

  /** The grant that the signer acts under; none for the kit. @throws Refused */
  #actsUnder(signer: string, auth: string | undefined, type: string): Grant | undefined {
    const acts = auth === undefined ? undefined : this.#ops.get(auth)?.gives
    if (auth !== undefined && acts?.holder !== signer) throw new Refused('not its own grant')
    if (!mayDo(acts?.role ?? 'recovery', type)) throw new Refused('role')
    return acts
  }

  #found(id: string, signer: string, body: Fields): void {
    if (id !== hex(this.#home) || hex(asBytes(body.get(2), 32)) !== signer)
      throw new Refused('home')
    this.#genesis = id
    this.#kit = hex(asBytes(body.get(3), 32))
    const gives = { by: id, holder: signer, role: 'owner', seat: [id] }
    const rest = { signer, type: 'genesis', auth: '', body, past: new Set<string>() }
    this.#ops.set(id, { id, ...rest, byKit: false, gives })
  }

  /** Undefined for a key that never was in. */
  placeOf(key: Uint8Array): Place | undefined {
    const given = [...this.#ops.values()].flatMap(({ gives }) =>
      gives !== undefined && gives.holder === hex(key) && this.#isGiven(gives) ? [gives] : [],
    )
    if (given.length === 0) return undefined
    const live = given.filter((grant) => this.#cuts(grant).length === 0)
    const [role] = this.#counting(live).toSorted(
      (a, b) => WEAKNESS.indexOf(b) - WEAKNESS.indexOf(a),
    )
    if (role !== undefined) return { role, lastSeq: role === 'guest' ? 0 : Infinity }
    const named = given
      .flatMap((grant) => this.#cuts(grant))
      .map(({ type, body }) => body.get(type === 'retire' ? 1 : 4))
    const numbers = named.filter((value) => value !== undefined).map(asNumber)
    return { role: 'removed', lastSeq: numbers.length === 0 ? 0 : Math.min(...numbers) }
  }

  /** Roles of live grants, without lesser ones from below a live owner grant. */
  #counting(live: readonly Grant[]): string[] {
    const owner = live.find(({ role }) => role === 'owner')
    const lesser = live.filter(({ role, by }) => {
      if (role === 'owner' || owner === undefined) return true
      return this.#mayRevoke(need(this.#ops.get(by), 'grant'), owner)
    })
    return lesser.map(({ role }) => role)
  }

  #isEffective(op: Op): boolean {
    const known = this.#effective.get(op.id)
    if (known !== undefined) return known
    const found = this.#judge(op)
    this.#effective.set(op.id, found)
    return found
  }

  #judge(op: Op): boolean {
    if (op.id === this.#genesis || op.byKit) return true
    const grant = need(this.#ops.get(op.auth)?.gives, 'grant')
    if (!this.#isGiven(grant)) return false
    return this.#cuts(grant, op).every((cut) => this.#keeps(cut).has(op.id))
  }

  #isGiven(grant: Grant): boolean {
    const op = need(this.#ops.get(grant.by), 'grant')
    if (!this.#isEffective(op)) return false
    if (op.type !== 'successor') return true
    // Two acts of a device on itself that do not know each other: no successor is given.
    return !this.#actsOnSelf(op.auth).some(
      (other) =>
        other.id !== op.id &&
        !other.past.has(op.id) &&
        !op.past.has(other.id) &&
        this.#isEffective(other),
    )
  }

  #actsOnSelf(auth: string): Op[] {
    return [...this.#ops.values()].filter(
      (op) => op.auth === auth && !op.byKit && (op.type === 'retire' || op.type === 'successor'),
    )
  }

  /** Effective cuts of a grant, for `op` under it those that may touch it. */
  #cuts(grant: Grant, op?: Op): Op[] {
    const past = need(this.#ops.get(grant.by), 'grant').past
    const own = this.#actsOnSelf(grant.by).filter((cut) => {
      if (op === undefined || !this.#actsOnSelf(grant.by).includes(op)) return true
      return op.past.has(cut.id)
    })
    const others = [...this.#ops.values()].filter((cut) => {
      if (past.has(cut.id) || cut.id === grant.by) return false
      const subject = cut.body.get(1)
      if (!(subject instanceof Uint8Array) || hex(subject) !== grant.holder) return false
      const lesser = cut.type === 'grant' && grant.role === 'owner' && cut.gives?.role !== 'owner'
      return (cut.type === 'revoke' || lesser) && this.#mayRevoke(cut, grant)
    })
    return [...own, ...others].filter((cut) => cut !== op && this.#isEffective(cut))
  }

  #mayRevoke(by: Op, grant: Grant): boolean {
    if (by.byKit) return true
    const acts = need(this.#ops.get(by.auth)?.gives, 'grant')
    if (acts.role !== 'owner') return false
    if (grant.role !== 'owner') return true
    return grant.seat.length > acts.seat.length && acts.seat.every((id, i) => grant.seat[i] === id)
  }

  #keeps(cut: Op): ReadonlySet<string> {
    if (cut.type !== 'revoke') {
      return cut.type === 'successor' ? new Set([...cut.past, cut.id]) : cut.past
    }
    const kept = new Set<string>()
    for (const value of asList(cut.body.get(2))) {
      const id = hex(asBytes(value, 32))
      kept.add(id)
      for (const before of need(this.#ops.get(id), 'cut').past) kept.add(before)
    }
    return kept
  }
}

function mayDo(role: string, type: string): boolean {
  if (role === 'recovery') return type === 'revoke' || type === 'recover'
  if (type === 'retire') return true
  return role === 'owner' && type !== 'recover'
}

function grantIn(
  { type, body, id, genesis }: { type: string; body: Fields; id: string; genesis: string },
  acts: Grant | undefined,
): Grant | undefined {
  const holder = (): string => hex(asBytes(body.get(1), 32))
  if (type === 'recover') return { by: id, holder: holder(), role: 'owner', seat: [genesis] }
  if (acts === undefined) return undefined
  if (type === 'successor') return { ...acts, by: id, holder: holder() }
  if (type !== 'grant') return undefined
  return { by: id, holder: holder(), role: String(body.get(2)), seat: [...acts.seat, id] }
}
