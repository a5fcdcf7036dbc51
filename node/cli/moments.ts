/** Times for people: as much of them as is needed. */
import { dateText, span } from './print.ts'

const DAY_MS = 86_400_000
const SOON_MS = 120_000

/** `14:02:11` today, else with its date; local time. */
export function momentText(at: number, now: number): string {
  const [day, time] = dateText(at).split(' ')
  return dateText(now).startsWith(`${day} `) ? `${time}` : `${day} ${time}`
}

/** `14:32` within a day from now, with seconds within two minutes, with its date after that. */
export function dueText(at: number, now: number): string {
  const [day, time = ''] = dateText(at).split(' ')
  const short = Math.abs(at - now) < SOON_MS ? time : time.slice(0, 5)
  return Math.abs(at - now) < DAY_MS ? short : `${day} ${short}`
}

/** "due in 4 min", "was due 3 min ago". */
export function dueIn(at: number, now: number): string {
  return at >= now ? `due in ${span(at - now)}` : `was due ${span(now - at)} ago`
}
