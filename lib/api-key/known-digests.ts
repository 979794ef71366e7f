/** Digests that were active when they were last read: a request that sends one has a real key. */

export interface KnownDigests {
  /** Whose the digest is; undefined where it is not known. */
  tenantOf (digest: string): string | undefined
  /** Notes a digest that was just read, as the newest of its tenant. */
  note (digest: string, tenantId: string): void
  forget (digest: string): void
  clear (): void
}

/**
 * Holds so many digests at most. When it is full, the tenant that has most of them loses its oldest: a tenant
 * that makes and uses keys without end replaces its own digests and not those of others.
 */
export function createKnownDigests (max: number): KnownDigests {
  const tenants = new Map<string, string>()
  /** The digests of each tenant, oldest first. */
  const digestsOf = new Map<string, Set<string>>()
  /** Tenants by the number of their digests, so that the largest is found without looking at all of them. */
  const bySize = new Map<number, Set<string>>()
  let largest = 0

  /** Puts a tenant among those of its present size, as the newest. */
  function sort (tenantId: string, before: number): void {
    const size = digestsOf.get(tenantId)?.size ?? 0
    const others = bySize.get(before)
    others?.delete(tenantId)
    if (others?.size === 0) bySize.delete(before)
    if (size > 0) bySize.set(size, (bySize.get(size) ?? new Set()).add(tenantId))
    else digestsOf.delete(tenantId)
    if (size > largest || !bySize.has(largest)) largest = size
  }

  function forget (digest: string): void {
    const tenantId = tenants.get(digest)
    if (tenantId === undefined) return
    const digests = digestsOf.get(tenantId) as Set<string>
    tenants.delete(digest)
    digests.delete(digest)
    sort(tenantId, digests.size + 1)
  }

  function forgetOldestOfLargest (): void {
    const [tenantId = ''] = bySize.get(largest) ?? []
    const [digest = ''] = digestsOf.get(tenantId) ?? []
    forget(digest)
  }

  return {
    tenantOf: (digest) => tenants.get(digest),
    note (digest, tenantId) {
      forget(digest)
      const digests = digestsOf.get(tenantId) ?? new Set()
      digestsOf.set(tenantId, digests.add(digest))
      tenants.set(digest, tenantId)
      sort(tenantId, digests.size - 1)
      if (tenants.size > max) forgetOldestOfLargest()
    },
    forget,
    clear () {
      tenants.clear()
      digestsOf.clear()
      bySize.clear()
      largest = 0
    }
  }
}
