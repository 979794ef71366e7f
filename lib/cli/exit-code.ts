/** How the program ends. Scripts depend on these numbers: they are part of the promise. */
export const exit = { done: 0, refused: 1, usage: 2, unavailable: 3, fault: 4, interrupted: 130 } as const

export type ExitCode = typeof exit[keyof typeof exit]

/** Each exit code in words, for --help and the documentation. */
export const exitMeanings: ReadonlyArray<readonly [code: ExitCode, words: string]> = [
  [exit.done, 'done, or: it is right'],
  [exit.refused, 'refused: not valid, not found, over the quota, or something is wrong'],
  [exit.usage, 'the command cannot be run as it was given, or its configuration is wrong'],
  [exit.unavailable, 'the database, Redis or the issuer cannot be asked: try again'],
  [exit.fault, 'an unexpected fault of this program'],
  [exit.interrupted, 'interrupted at a prompt']
]
