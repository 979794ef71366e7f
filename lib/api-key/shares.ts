/** A budget that several owners use, such as tenants. */
export interface Shares {
  /**
   * Takes one of the budget; false: the owner has as many as are left free, or none is left. An owner of null
   * may take all.
   */
  take (owner: string | null): boolean
  /** Gives back one that was taken. */
  giveBack (owner: string | null): void
}

/**
 * An owner may have as many as are left free: half of the budget if it is alone, so that it cannot take what
 * others need. Nothing is reserved for owners that ask for nothing.
 */
export function createShares (max: number): Shares {
  const taken = new Map<string, number>()
  let total = 0

  return {
    take (owner) {
      const own = owner === null ? 0 : taken.get(owner) ?? 0
      if (own >= max - total) return false
      if (owner !== null) taken.set(owner, own + 1)
      total++
      return true
    },
    giveBack (owner) {
      total--
      if (owner === null) return
      const own = taken.get(owner) as number
      if (own === 1) taken.delete(owner)
      else taken.set(owner, own - 1)
    }
  }
}
