/** What one check of the doctor found. */
export interface Finding {
  readonly check: string
  /** not-asked: nothing is configured that could be looked at. */
  readonly status: 'well' | 'warning' | 'wrong' | 'unreachable' | 'not-asked'
  readonly detail: string
  /** null where nothing is to be done. */
  readonly mend: string | null
}

/** What is found, and what mends it. */
export function finding (check: string, status: Finding['status'], detail: string, mend: string | null = null): Finding {
  return { check, status, detail, mend }
}
