/**
 * Who may use the dashboard's port on [::1]. Any program and any web page on this machine can reach
 * it, so: a session from a one-time link, a cookie that other sites cannot send, host names that
 * cannot be rebound, and writes only from our own page. The Unix socket needs none of this: the
 * file system keeps others out.
 */
import { createHash } from 'node:crypto'

import type { Clock, Random } from '../env.ts'
import { HttpError } from './problem.ts'

const TOKEN_BYTES = 32
const LINK_MS = 10 * 60_000
const SESSION_MS = 12 * 60 * 60_000
const MAX_LINKS = 16
const MAX_SESSIONS = 16

export interface Sessions {
  /** A token that opens one session within ten minutes. `expiresAt` is wall time. */
  createLink(): { readonly token: string; readonly expiresAt: number }
  /** A new session for a link's token, which is spent by it; undefined where it is not valid. */
  redeem(token: string): string | undefined
  isValid(session: string): boolean
}

/** Tokens are kept as hashes; expiry runs on the monotonic clock. */
export function createSessions(clock: Clock, random: Random): Sessions {
  const links = new Map<string, number>()
  const sessions = new Map<string, number>()

  function issue(to: Map<string, number>, max: number, lifeMs: number): string {
    const token = Buffer.from(random.bytes(TOKEN_BYTES)).toString('base64url')
    // Oldest out: a map keeps the order of insertion.
    for (const [key] of [...to].slice(0, Math.max(0, to.size + 1 - max))) to.delete(key)
    to.set(hash(token), clock.monotonic() + lifeMs)
    return token
  }

  function isLive(from: ReadonlyMap<string, number>, token: string): boolean {
    return (from.get(hash(token)) ?? Number.NEGATIVE_INFINITY) > clock.monotonic()
  }

  return {
    createLink() {
      return { token: issue(links, MAX_LINKS, LINK_MS), expiresAt: clock.now() + LINK_MS }
    },
    redeem(token) {
      const live = isLive(links, token)
      links.delete(hash(token))
      return live ? issue(sessions, MAX_SESSIONS, SESSION_MS) : undefined
    },
    isValid: (session) => isLive(sessions, session),
  }
}

function hash(token: string): string {
  return createHash('sha256').update(token).digest('base64')
}

/** Cookies do not know ports, and several devices may run on one machine. */
export function cookieName(port: number): string {
  return `kith-${port}`
}

export function sessionCookie(port: number, session: string): string {
  return `${cookieName(port)}=${session}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${SESSION_MS / 1000}`
}

export interface RequestFacts {
  readonly method: string
  readonly host: string | undefined
  readonly origin: string | undefined
  readonly fetchSite: string | undefined
}

/** DNS rebinding: a foreign name that points here. @throws HttpError HTTP_WRONG_HOST */
export function checkHost({ host }: RequestFacts, port: number): void {
  if (host !== `[::1]:${port}` && host !== `localhost:${port}`) {
    throw new HttpError('HTTP_WRONG_HOST', `Use http://[::1]:${port}/`)
  }
}

/**
 * Requests that another site's page makes the browser send. Every browser names the origin of a
 * write, so a write without one is refused too. @throws HttpError HTTP_FORBIDDEN
 */
export function checkOrigin({ method, host, origin, fetchSite }: RequestFacts): void {
  const foreign = fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none'
  const write = method !== 'GET' && method !== 'HEAD'
  if (
    foreign ||
    (write ? origin !== `http://${host}` : origin !== undefined && origin !== `http://${host}`)
  ) {
    throw new HttpError('HTTP_FORBIDDEN')
  }
}

/** The session in a Cookie header; the first one counts. */
export function sessionOf(cookies: string | undefined, port: number): string {
  const prefix = `${cookieName(port)}=`
  const found = (cookies ?? '').split(/; ?/).find((cookie) => cookie.startsWith(prefix))
  return found?.slice(prefix.length, prefix.length + 64) ?? ''
}
