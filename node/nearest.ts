/** What was probably meant by a name that is not there. */

/** The known name with the fewest edits from `name`, where those are few; undefined otherwise. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const leaf = (key: string): string => key.slice(key.lastIndexOf('.') + 1)
  const scored = known.map((candidate) => ({
    candidate,
    edits: Math.min(
      editDistance(name, candidate),
      // The right name in the wrong section, or in none.
      leaf(name) === leaf(candidate) ? 1 : Number.POSITIVE_INFINITY,
    ),
  }))
  const best = scored.toSorted((a, b) => a.edits - b.edits)[0]
  return best !== undefined && best.edits <= Math.max(2, Math.floor(name.length / 4))
    ? best.candidate
    : undefined
}

/** Names that begin with what was typed or are few edits from it, nearest first; at most three. */
export function nearestNames(typed: string, known: readonly string[]): readonly string[] {
  const wanted = typed.toLowerCase()
  const most = Math.max(2, Math.floor(wanted.length / 4))
  const editsTo = (name: string): number =>
    wanted !== '' && name.startsWith(wanted) ? 0 : editDistance(wanted, name)
  return known
    .map((name) => ({ name, edits: editsTo(name.toLowerCase()) }))
    .filter(({ name, edits }) => edits <= most && edits < name.length)
    .toSorted((a, b) => a.edits - b.edits || (a.name < b.name ? -1 : 1))
    .slice(0, 3)
    .map(({ name }) => name)
}

function editDistance(a: string, b: string): number {
  if (a.length > 128) return a.length
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
