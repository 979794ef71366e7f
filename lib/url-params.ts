/** The parameters of a route's URL. */

/**
 * The parameter names of a route's URL, as find-my-way reads it: a name that is missed here is a tenant that is not
 * compared.
 */
export function urlParams (url: string): string[] {
  // An optional parameter is the last one, and its question mark is no part of its name.
  const path = url.replace(/(\/:[^/()]*?)\?(\/?)/, '$1$2')
  const names: string[] = []
  let inSegment = false
  for (let i = 0; i < path.length; i++) {
    if (path[i] === '/') inSegment = false
    // Behind a parameter an asterisk is text until the next slash.
    if (path[i] === '*' && !inSegment) names.push('*')
    if (path[i] !== ':') continue
    // `::` is a literal colon where a name could begin, and nothing special within a name.
    if (path[i + 1] === ':') { i++; continue }
    inSegment = true
    const start = ++i
    while (i < path.length && !'/-.('.includes(path[i] as string)) i++
    names.push(path.slice(start, i))
    if (path[i] === '(') i = endOfExpression(path, i)
    else i--
  }
  return names
}

/** Where the regular expression that opens here is closed; a colon or an asterisk in it names nothing. */
function endOfExpression (path: string, opening: number): number {
  let depth = 0
  for (let i = opening; i < path.length; i++) {
    if (path[i] === '\\') i++
    else if (path[i] === '(') depth++
    else if (path[i] === ')' && --depth === 0) return i
  }
  return path.length
}
